"""The doctor names every problem of an environment, and the command that mends it."""

import json
import sys
from importlib import metadata

import pytest
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.plugins import Issue, catalog
from det_devkit import doctor

HEADS = "@hookimpl\ndef det_heads(): return {names}"


@pytest.fixture
def healthy(monkeypatch):
    """An environment in which torch and torchvision need not be tried."""
    monkeypatch.setattr(doctor, "_PROBE", "pass")


@pytest.fixture
def distribution(site):
    """Puts metadata of a distribution there that has no plugin, before all others of its name."""

    def do(name: str, version: str, *lines: str) -> None:
        folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines])
        )
        catalog(refresh=True)

    return do


def of(name: str) -> list[Issue]:
    """What the doctor has to say about one thing."""
    found = doctor.check_environment(import_torch=False, isolate=False)
    return [finding for finding in (*found.problems, *found.notes) if finding.where.split()[0] == name]


def fix_of(name: str) -> str:
    (finding,) = of(name)
    return finding.fix


def test_valid_environment_has_no_problems(site, healthy):
    found = doctor.check_environment(isolate=False)
    assert found.problems == ()
    assert found.versions["python"].startswith("3.")
    assert {"det-core", "torch", "torchvision"} <= set(found.versions)


def test_missing_requirement_of_plugin_gets_one_install_hint(install):
    install("det-lab", "import no_such_lab", requires="no-such-lab>=1.2")
    (finding,) = of("det-lab")
    assert "No module named 'no_such_lab'" in finding.problem
    assert finding.fix == (
        "pip install 'no-such-lab>=1.2'  # which det-lab requires; DET_DISABLE_PLUGINS=det-lab goes on without it"
    )


def test_missing_module_of_extra_gets_extra_install_hint(install, site):
    install("det-lab", "import no_such_lab")
    about = site / "det_lab-1.0.dist-info" / "METADATA"
    about.write_text(about.read_text() + 'Provides-Extra: video\nRequires-Dist: no-such-lab; extra == "video"\n')
    assert fix_of("det-lab").startswith("pip install 'det-lab[video]'")


def test_well_known_missing_module_gets_package_name(install):
    install("det-lab", "import skimage.nowhere")
    assert fix_of("det-lab").startswith("pip install scikit-image  # which det-lab should require")


def test_unknown_missing_module_gets_no_guess(install):
    install("det-lab", "import no_such_lab")
    assert fix_of("det-lab").startswith("# install the package that brings 'no_such_lab', which det-lab does not name")


@pytest.mark.parametrize(
    ("origin", "place"),
    [
        ("", "det-lab==1.0"),
        ('{"url": "https://example.org/det_lab.whl"}', "'https://example.org/det_lab.whl'"),
        ('{"url": "file:///lab", "dir_info": {"editable": true}}', "-e 'file:///lab'"),
        ("damaged", "det-lab==1.0"),
    ],
)
def test_broken_plugin_gets_reinstall_hint_with_source(install, site, origin, place):
    install("det-lab", "x =")
    (site / "det_lab-1.0.dist-info" / "direct_url.json").write_text(origin)
    assert fix_of("det-lab").startswith(f"pip install --force-reinstall --no-deps {place}  # ")


def test_plugin_with_missing_files_gets_reinstall_hint(install, site):
    install("det-lab")
    sys.modules.pop("det_lab")
    (site / "det_lab.py").unlink()
    catalog(refresh=True)
    assert fix_of("det-lab").startswith("pip install --force-reinstall --no-deps det-lab==1.0  # its files are")


def test_plugin_for_another_core_gets_one_release_hint(install):
    install("det-old", requires="det-core<0.0.1")
    (finding,) = of("det-old")
    assert finding.problem.startswith("needs det-core<0.0.1, but ")
    assert finding.fix.startswith("pip install --upgrade det-old  # if it has a release for det-core ")


def test_hanging_plugin_gets_longer_timeout_hint(install, monkeypatch):
    monkeypatch.setenv("DET_PLUGIN_TIMEOUT", "0.3")
    install("det-slow", "import time\ntime.sleep(60)")
    assert fix_of("det-slow") == (
        "DET_PLUGIN_TIMEOUT=60 det plugins  # gives it more time; DET_DISABLE_PLUGINS=det-slow goes on without it"
    )


def test_fault_of_active_plugin_is_problem(install):
    install("det-half", "@hookimpl\ndef det_head(): return {}\n@hookimpl\ndef det_models(): return 1")
    assert [finding.fix.partition("  #")[0] for finding in of("det-half")] == ["pip install --upgrade det-half"] * 2


def test_unmet_requirement_of_importable_plugin_is_reported(install):
    install("det-lab", requires="pluggy<0.1")
    (finding,) = of("det-lab")
    assert finding.problem.startswith("it needs pluggy<0.1, but ")
    assert finding.fix == "pip install 'pluggy<0.1'"


def test_plugin_for_another_python_is_reported(install, site):
    install("det-lab")
    about = site / "det_lab-1.0.dist-info" / "METADATA"
    about.write_text(about.read_text() + "Requires-Python: >=3.99\n")
    (finding,) = of("det-lab")
    assert finding.problem.startswith("it needs Python >=3.99, but this is 3.")
    assert finding.fix.startswith("uv venv --python '>=3.99'")


def test_disabled_plugin_is_note_without_requirement_check(install, monkeypatch):
    monkeypatch.setenv("DET_DISABLE_PLUGINS", "det-off,det-of")
    install("det-off", "1 / 0", requires="no-such-lab")
    found = doctor.check_environment(import_torch=False, isolate=False)
    assert found.problems == ()
    assert Issue(
        "det-off 1.0", "switched off by DET_DISABLE_PLUGINS", "take it out of DET_DISABLE_PLUGINS to use it"
    ) in (found.notes)
    (typo,) = of("DET_DISABLE_PLUGINS")
    assert typo.problem == "it names 'det-of', which is no installed plugin"
    assert typo.fix.startswith("did you mean 'det-off' or ")


def test_name_offered_by_two_plugins_is_note(install):
    install("det-one", HEADS.format(names={"twin": "a:A"}))
    install("det-two", HEADS.format(names={"twin": "b:B"}))
    (finding,) = of("head")
    assert str(finding) == (
        "head 'twin': is a name in det-one and det-two, and ambiguous without a qualifier; "
        "write 'det-one/twin' or 'det-two/twin'"
    )


def test_missing_extra_is_note(distribution):
    lines = ("Provides-Extra: plots", 'Requires-Dist: no-such-plotter>=3; extra == "plots"')
    distribution("det-core", doctor._installed("det-core"), *lines)
    assert (
        Issue(
            "det-core[plots]",
            "no-such-plotter>=3 is not installed; without it a run draws no learning curves",
            "pip install 'det-core[plots]'  # or everything: 'det-core[all]'",
        )
        in doctor.check_environment(import_torch=False, isolate=False).notes
    )


def test_core_extras_have_descriptions():
    extras = set(metadata.metadata("det-core").get_all("Provides-Extra") or ())
    assert set(doctor._EXTRAS) == extras - {"all", "test"}


def test_missing_library_of_core_is_reported(distribution):
    distribution("det-core", doctor._installed("det-core"), "Requires-Dist: no-such-library>=2")
    (finding,) = of("no-such-library")
    assert finding.problem == "det needs no-such-library>=2, but it is not installed"
    assert finding.fix == "pip install 'no-such-library>=2'"


def test_torchvision_for_another_torch_is_reported_by_requirement(distribution, monkeypatch):
    def must_not_run(*_, **__):
        raise AssertionError("torch is tried although the answer is known")

    monkeypatch.setattr(doctor.subprocess, "run", must_not_run)
    distribution("torchvision", "0.1.0", "Requires-Dist: torch==2.0.0")
    problems = [
        finding for finding in doctor.check_environment(isolate=False).problems if finding.where == "torchvision 0.1.0"
    ]
    torch = doctor._installed("torch")
    fix = "pip install --upgrade torch torchvision  # both from one index"
    assert problems == [Issue("torchvision 0.1.0", f"it needs torch==2.0.0, but {torch} is installed", fix)]


def test_duplicate_library_is_reported(distribution):
    distribution("torch", "2.99.0")
    problems = [finding.problem for finding in of("torch") if "several" in finding.problem]
    assert len(problems) == 1
    assert problems[0].startswith("is installed in several versions: 2.99.0, ")


def test_torch_and_torchvision_build_mismatch_is_reported_by_import(site, monkeypatch):
    probe = "raise ImportError('undefined symbol: _ZN3c104cudaE')"
    monkeypatch.setattr(doctor, "_PROBE", probe)
    (finding,) = doctor.check_environment(isolate=False).problems
    assert finding.where.startswith("torch ")
    assert finding.problem == "they do not work together: ImportError: undefined symbol: _ZN3c104cudaE"
    assert finding.fix == "pip install --force-reinstall torch torchvision  # both from one index"


def test_hanging_torch_is_reported(site, monkeypatch):
    monkeypatch.setattr(doctor, "_PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(doctor, "_SECONDS", 0.3)
    (finding,) = doctor.check_environment(isolate=False).problems
    assert finding.problem == "importing them takes longer than 0.3 s; the machine may only be busy"
    assert "pip install --force-reinstall torch torchvision" in finding.fix


def test_command_exits_with_one_on_problems_only(install, healthy, monkeypatch):
    result = CliRunner().invoke(det, ["plugins", "doctor"])
    assert result.exit_code == 0
    assert "No problems." in result.output
    install("det-broken", "1 / 0")
    result = CliRunner().invoke(det, ["plugins", "doctor"])
    assert result.exit_code == 1
    lines = result.output.splitlines()
    at = lines.index("  det-broken 1.0: cannot be imported: ZeroDivisionError: division by zero")
    assert lines[at + 1].startswith("    -> pip install --force-reinstall")


def test_command_prints_json(install, healthy):
    install("det-broken", "1 / 0")
    result = CliRunner().invoke(det, ["plugins", "doctor", "--json"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["problems"][0]["where"] == "det-broken 1.0"
    assert set(found["problems"][0]) == {"where", "problem", "fix"}


def test_options_before_the_command_are_refused_rather_than_ignored():
    result = CliRunner().invoke(det, ["plugins", "--json", "doctor"])
    assert result.exit_code == 2
    assert "det plugins doctor --json" in result.output
