"""The examples that train from Python run as they stand, from a clone of the project, for a few steps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("name", "lines", "found"),
    [("train_in_python.py", 25, "cells found"), ("own_loop.py", 40, "bbox/AP50")],
)
def test_example_that_trains_from_python(tmp_path, name, lines, found):
    program = ROOT / "examples" / name
    assert len(program.read_text(encoding="utf-8").splitlines()) <= lines
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    done = subprocess.run(
        [sys.executable, f"examples/{name}", "2"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert found in done.stdout
