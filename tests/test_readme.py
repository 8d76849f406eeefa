"""Commands and code of README.md run, except those that need a network; its pictures and links exist."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(heading: str, language: str) -> list[str]:
    """The fenced blocks of one language under one heading."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def run(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    result = subprocess.run(
        command, shell=True, cwd=folder, env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stands for the root of the repository after the demo, whose detector was trained for one step here."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(ROOT / "examples")
    changes = "--set train.steps=1 --set train.batch_size=1 --set data.val=null"
    run(f"det train examples/blood-cells/recipe.yaml --output runs/demo {changes}", folder)
    shutil.move(folder / "runs" / "demo" / "last.safetensors", folder / "runs" / "demo" / "best.safetensors")
    return folder


def test_first_prediction_command_finds_cells(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    _, command, _ = blocks("Thirty seconds to a first result", "sh")
    run(command, tmp_path)
    objects = json.loads((tmp_path / "found" / "predictions.json").read_text())
    confident = [each["category_id"] for each in objects if each["score"] > 0.5]
    assert confident.count(1) == 1  # the white cell
    assert 8 <= confident.count(2) <= 20  # red cells
    assert (tmp_path / "found" / "BloodImage_00007.jpg").stat().st_size > 10_000


def test_predict_command_writes_picture_and_detections(folder):
    (command,) = blocks("Predict", "sh")
    run(command, folder)
    assert {path.name for path in (folder / "runs" / "predictions").iterdir()} == {
        ".det-predict.json",
        "BloodImage_00000.jpg",
        "predictions.json",
    }


def test_predict_code_writes_picture(folder):
    (code,) = blocks("Predict", "python")
    script = folder / "predict.py"
    script.write_text(code)
    run(f"{sys.executable} {script}", folder)
    assert (folder / "runs" / "cells.png").stat().st_size > 10_000


def test_training_commands_write_checkpoint_and_print_metrics(folder):
    (commands,) = blocks("Train on your own images", "sh")
    result = run(f"set -e\n{commands}", folder, DET_DATA=str(ROOT))
    assert (folder / "runs" / "mine" / "best.safetensors").exists()
    assert "bbox/AP50" in result.stdout


def test_importer_commands_write_a_recipe(tmp_path):
    (commands,) = blocks("Coming from Detectron2", "sh")
    (tmp_path / "my_config.yaml").write_text("MODEL: {ROI_HEADS: {NUM_CLASSES: 3}}\n")
    run(f"set -e\n{commands}", tmp_path)
    assert "num_classes: 3" in (tmp_path / "my_recipe.yaml").read_text()


def test_install_command_installs_wheel(tmp_path):
    wheels = list((ROOT / "dist").glob("det_core-*.whl"))
    if not wheels:
        pytest.skip("there are no wheels in dist; `nox -s build` makes them")
    (command,) = blocks("Install", "sh")
    target = tmp_path / "site"
    # The wheel alone, and from nowhere else: what it needs is installed here already.
    offline = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_TARGET": str(target), "PIP_ROOT_USER_ACTION": "ignore"}
    run(command.replace("pip install", f"{sys.executable} -m pip install"), ROOT, **offline)
    assert (target / "det_core" / "py.typed").exists()


def test_plugin_shown_equals_example(folder):
    (code,) = blocks("Write a plugin", "python")
    (metadata,) = blocks("Write a plugin", "toml")
    acme = ROOT / "examples" / "det-acme"
    without_docstrings = re.sub(r' *"""[^"]*"""\n', "", (acme / "src/det_acme/plugin.py").read_text()).strip()
    assert without_docstrings.startswith(code.strip())
    assert metadata in (acme / "pyproject.toml").read_text()


def test_commands_are_single_lines_with_recorded_sessions():
    demo, tests = (block.strip() for block in blocks("Two commands", "sh"))
    assert "\n" not in demo + tests
    assert demo.endswith("nox -s demo")
    assert tests.endswith("/nox")
    assert re.search(r"^def demo\(", (ROOT / "noxfile.py").read_text(), re.MULTILINE)


def test_pictures_and_links_resolve():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 5
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]
