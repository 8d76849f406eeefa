"""`det new-plugin`: which names it takes, and what it writes; tests/test_new_plugin.py runs what is written."""

import tomllib
from importlib import metadata

import pytest
import yaml
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.errors import ConfigError
from det_devkit.scaffold import KINDS, Names, check_name, new_plugin
from det_devkit.scaffold.writer import _bounds


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("det-lab", Names("det-lab", "det_lab", "lab", "Lab")),
        ("Det_My.Lab", Names("det-my-lab", "det_my_lab", "my_lab", "MyLab")),
        ("lab-det", Names("lab-det", "lab_det", "lab", "Lab")),
        ("lab", Names("lab", "lab", "lab", "Lab")),
        ("det-3d", Names("det-3d", "det_3d", "det_3d", "Det3d")),
        ("det-class", Names("det-class", "det_class", "det_class", "DetClass")),
    ],
)
def test_all_names_follow_from_that_of_the_distribution(name, names):
    assert check_name(name) == names


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is not a name for a distribution"),
        ("-lab", "is not a name for a distribution"),
        ("det lab", "is not a name for a distribution"),
        ("../lab", "is not a name for a distribution"),
        ("3d", "cannot be imported as '3d'; take another, such as 'det-3d'"),
        ("class", "cannot be imported as 'class'; take another, such as 'det-class'"),
        ("det-core", "is taken: det-core is a package of det's own project"),
        ("Det_PointRend", "is taken: det-pointrend is a package of det's own project"),
        ("pluggy", f"is taken: pluggy {metadata.version('pluggy')} is installed"),
        ("json", "is taken: Python itself has a module 'json'"),
        ("det-installed", "is taken: det-installed 1.0 is installed"),
        ("lonely", "is taken: there is a module 'lonely' already"),
    ],
)
def test_invalid_name_is_refused_with_reason(install, site, name, words):
    install("det-installed")
    (site / "lonely.py").write_text("")
    with pytest.raises(ConfigError) as error:
        check_name(name)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("version", "bounds"),
    [
        ("0.1.0", ">=0.1,<0.3"),
        ("0.2.7", ">=0.2,<0.3"),
        ("0.3.0", ">=0.3,<0.4"),
        ("1.4.2", ">=1.4,<2"),
        ("0.1.0.dev3", ">=0.1.0.dev3,<0.3"),
    ],
)
def test_core_version_bounds_include_running_version(version, bounds):
    assert _bounds(version) == bounds


def test_scaffold_fills_package_name_everywhere(tmp_path):
    files = new_plugin("det-lab", KINDS, tmp_path / "new")
    about = tomllib.loads((tmp_path / "new" / "pyproject.toml").read_text())
    assert about["project"]["name"] == "det-lab"
    assert about["project"]["entry-points"] == {"det": {"det-lab": "det_lab.plugin"}}
    bounds = _bounds(metadata.version("det-core"))
    assert about["project"]["dependencies"] == [f"det-core{bounds}", f"det-export{bounds}"]
    for path in files:
        text = path.read_text()
        if path.name != "ci.yml":
            assert "$" not in text.replace("$DET_DATA", ""), path
    written = {str(path.relative_to(tmp_path / "new")) for path in files}
    assert written >= {f"src/det_lab/{kind}.py" for kind in KINDS} | {f"tests/test_{kind}.py" for kind in KINDS}
    assert written >= {"README.md", "CHANGELOG.md", "LICENSE", ".gitignore", "src/det_lab/py.typed"}


def test_its_continuous_integration_runs_the_tests(tmp_path):
    new_plugin("det-lab", folder=tmp_path / "new")
    job = yaml.safe_load((tmp_path / "new" / ".github/workflows/ci.yml").read_text())["jobs"]["test"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[-2:] == ["det plugins --check", "pytest"]
    assert job["steps"][1]["with"]["python-version"] == "${{ matrix.python }}"


def test_default_kind_is_backbone_and_exporter_includes_model(tmp_path):
    new_plugin("det-lab", folder=tmp_path / "one")
    new_plugin("det-lab", ["exporter"], tmp_path / "two")
    assert {path.stem for path in (tmp_path / "one/src/det_lab").glob("*.py")} == {"__init__", "plugin", "backbone"}
    names = {path.stem for path in (tmp_path / "two/src/det_lab").glob("*.py")}
    assert names == {"__init__", "plugin", "model", "exporter"}


def test_command_writes_folder_and_prints_next_steps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(det, ["new-plugin", "Det_Lab", "--evaluator"])
    assert result.exit_code == 0
    assert result.output.splitlines()[0].endswith("files to det-lab. Next:")
    assert [line.strip() for line in result.output.splitlines()[1:]] == [
        "cd det-lab",
        'pip install -e ".[test]"',
        "det plugins --check",
        "pytest",
    ]
    assert (tmp_path / "det-lab/src/det_lab/evaluator.py").exists()


def test_non_empty_folder_is_left_unchanged(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    result = CliRunner().invoke(det, ["new-plugin", "det-lab", "--output", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {tmp_path}: is there already and is not an empty folder; name another with --output, or remove it\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_empty_folder_is_accepted(tmp_path):
    assert new_plugin("det-lab", folder=tmp_path)


def test_unwritable_folder_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        new_plugin("det-lab", folder=tmp_path / "file" / "new")
