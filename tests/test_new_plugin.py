"""What `det new-plugin` writes is built into wheels, installed beside core, listed, trained for a step and tested."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from det_core.cli.main import det

ROOT = Path(__file__).parents[1]
KINDS = ("backbone", "head", "model", "dataset", "evaluator", "exporter")
EVERYTHING = "det-everything"


def run(command, folder, site="", **variables):
    """Run a command where the plugins in `site` are installed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", **variables}
    result = subprocess.run(
        [str(each) for each in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def build(packages, folder):
    """The wheels of these packages, made as pip and uv make them, without the internet."""
    for package in packages:
        run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], package)
    return sorted(folder.glob("*.whl"))


def install(wheels, site):
    """Install wheels into a folder of their own; nothing in the environment of these tests is touched."""
    uv = shutil.which("uv")
    pip = [uv, "pip", "install", "--no-config", "--offline"] if uv else [sys.executable, "-m", "pip", "install"]
    run([*pip, "--quiet", "--no-index", "--no-deps", "--target", site, *wheels], site.parent)
    return site


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One package per kind, and one of all kinds."""
    folder = tmp_path_factory.mktemp("new-plugin")
    wanted = {f"det-own-{kind}": [f"--{kind}"] for kind in KINDS} | {EVERYTHING: [f"--{kind}" for kind in KINDS]}
    for name, flags in wanted.items():
        result = CliRunner().invoke(det, ["new-plugin", name, *flags, "--output", str(folder / name)])
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def site(folder):
    """The packages of one kind each, installed side by side."""
    (folder / "wheels").mkdir()
    wheels = build([folder / f"det-own-{kind}" for kind in KINDS], folder / "wheels")
    return install(wheels, folder / "site")


def test_their_code_is_clean(folder):
    config = ROOT / "ruff.toml"
    for package in sorted(folder.glob("det-*")):
        run(["ruff", "check", "--config", config, "."], package)
        run(["ruff", "format", "--check", "--config", config, "."], package)


def test_long_names_leave_the_code_clean(folder):
    name = "det-semantic-keypoints"
    flags = [f"--{kind}" for kind in KINDS]
    assert CliRunner().invoke(det, ["new-plugin", name, *flags, "--output", str(folder / "long")]).exit_code == 0
    run(["ruff", "check", "--config", ROOT / "ruff.toml", "."], folder / "long")
    run(["ruff", "format", "--check", "--config", ROOT / "ruff.toml", "."], folder / "long")


def test_wheel_contains_recipe_licence_and_py_typed(site):
    (wheel,) = (site.parent / "wheels").glob("det_own_dataset-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"det_own_dataset/recipes/own_dataset_dataset.yaml", "det_own_dataset/py.typed"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith("tests/") for name in names)


def test_new_plugins_are_listed_importable_and_recipes_fit(site):
    listed = json.loads(run(["det", "plugins", "--check", "--json"], site.parent, site))
    assert listed["problems"] == []
    found = {plugin["distribution"]: plugin["components"] for plugin in listed["plugins"]}
    for kind in KINDS:
        name = f"own_{kind}_{kind}"
        target = f"det_own_{kind}.{kind}:{''.join(part.title() for part in name.split('_'))}"
        assert found[f"det-own-{kind}"][f"{kind}s"] == {name: target}
        assert found[f"det-own-{kind}"]["recipes"]


def test_new_plugin_tests_training_and_conformance_pass(site, folder):
    packages = [folder / f"det-own-{kind}" for kind in KINDS]
    # One process for all, with the settings of the first: torch is imported once.
    command = [sys.executable, "-m", "pytest", "-c", packages[0] / "pyproject.toml", "-m", "not slow", "-v"]
    output = run([*command, *(package / "tests" for package in packages)], folder, site)
    for kind in KINDS:
        assert f"det-own-{kind}::package::it is in use and has no problems" in output
    assert output.count("::test_recipe_trains_one_step PASSED") == len(KINDS)


@pytest.mark.slow
def test_package_of_all_kinds_follows_its_readme(folder):
    package = folder / EVERYTHING
    (folder / "wheel-of-all").mkdir()
    site = install(build([package], folder / "wheel-of-all"), folder / "site-of-all")
    run([sys.executable, "-m", "pytest"], package, site)
    run([sys.executable, "tests/tiny_data.py", "data/tiny"], package)
    short = ["--set", "train.steps=2", "--output", "runs/first"]
    run(["det", "train", "everything_backbone", *short], package, site, DET_DATA="data")
    run(["det", "predict", "data/tiny/images", "--model", "runs/first", "--output", "runs/seen"], package, site)
    assert len(list((package / "runs/seen").glob("*.png"))) == 6
