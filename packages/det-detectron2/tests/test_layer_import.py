"""Programs that import Detectron2 run on the layer, asked for in their own process alone."""

import os
import subprocess
import sys
from pathlib import Path


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment})


def test_program_with_arguments_runs_on_the_layer(tmp_path: Path) -> None:
    lines = (
        "import sys, detectron2",
        "from detectron2.structures import Boxes",
        "print(Boxes([[0, 0, 2, 3]]).area(), sys.argv)",
        "print(__file__)",
    )
    program = "\n".join(lines)
    (tmp_path / "program.py").write_text(program)
    done = run(tmp_path, "-m", "det_detectron2", "program.py", "a", "--b")
    assert done.stdout.split("\n")[:2] == ["tensor([6.]) ['program.py', 'a', '--b']", str(tmp_path / "program.py")]
    assert done.stderr.count("detectron2 is det's layer") == 1


def test_import_without_the_layer_fails_as_before(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", "import det_detectron2, detectron2")
    assert "No module named 'detectron2'" in done.stderr


def test_module_outside_the_layer_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", "import det_detectron2.as_detectron2, detectron2.export.caffe2_modeling")
    assert "detectron2.export.caffe2_modeling is not part of det's layer for Detectron2" in done.stderr


def test_installed_detectron2_is_used_and_named(tmp_path: Path) -> None:
    (tmp_path / "detectron2").mkdir()
    (tmp_path / "detectron2/__init__.py").write_text("__version__ = 'real'")
    program = "import det_detectron2.as_detectron2, detectron2; print(detectron2.__version__)"
    done = run(tmp_path, "-c", program, PYTHONPATH=str(tmp_path))
    assert done.stdout == "real\n"
    assert f"Detectron2 itself is installed and is used: {tmp_path}" in done.stderr


def test_missing_program_and_help_have_exit_codes(tmp_path: Path) -> None:
    assert run(tmp_path, "-m", "det_detectron2", "nowhere.py").returncode == 2
    assert run(tmp_path, "-m", "det_detectron2").returncode == 2
    assert run(tmp_path, "-m", "det_detectron2", "--help").returncode == 0


def test_modules_are_the_same_under_both_names(tmp_path: Path) -> None:
    program = (
        "import det_detectron2.as_detectron2\nimport detectron2.structures.boxes as a\n"
        "import det_detectron2.layer.structures.boxes as b\nprint(a is b, a.__spec__.name)"
    )
    assert run(tmp_path, "-c", program).stdout == "True det_detectron2.layer.structures.boxes\n"


def test_version_of_detectron2_is_found_in_the_process_alone(tmp_path: Path) -> None:
    program = "from importlib.metadata import version; print(version('detectron2'))"
    assert run(tmp_path, "-c", f"import det_detectron2.as_detectron2; {program}").stdout == "0.6\n"
    assert "PackageNotFoundError" in run(tmp_path, "-c", program).stderr


def test_layer_messages_go_to_the_logger_of_detectron2(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import logging\n"
        "import det_detectron2.layer.evaluation.coco_evaluation as module\n"
        "from detectron2.utils.logger import setup_logger\n"
        "setup_logger()\n"
        "logging.getLogger(module.__name__).info('evaluated')\n",
        "utf-8",
    )
    done = subprocess.run([sys.executable, "-m", "det_detectron2", str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("d2]: INFO evaluated\n")
