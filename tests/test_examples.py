"""The examples that train from Python run as they stand, from a clone of the project, for a few steps."""

import ast
import importlib
import os
import re
import runpy
import signal
import subprocess
import sys
from importlib.util import find_spec
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


def test_scripts_import_names_that_the_packages_have():
    folders = [ROOT / name for name in ("benchmarks", "docs", "examples")]
    missing = []
    for script in sorted(file for folder in folders for file in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and re.match("det_(core|inspect|densepose)", node.module or ""):
                module = importlib.import_module(node.module)
                missing += [f"{script}: {name.name}" for name in node.names if not _has(module, name.name)]
    assert missing == []


def _has(module, name):
    return hasattr(module, name) or (hasattr(module, "__path__") and bool(find_spec(f"{module.__name__}.{name}")))


@pytest.mark.parametrize(
    ("load", "threads", "note"),
    [(0.3, 8, ""), (5.2, 3, "(load 5.2 on 8 cores): 3 threads,"), (9.0, 1, "(load 9.0 on 8 cores): 1 thread,")],
)
def test_demo_has_a_thread_per_idle_core(monkeypatch, capsys, load, threads, note):
    demo = runpy.run_path(str(ROOT / "examples/blood-cells/demo.py"))
    count = [8]
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr("torch.get_num_threads", lambda: count[-1])
    monkeypatch.setattr("torch.set_num_threads", count.append)
    demo["fit_threads"]()
    assert count[-1] == threads
    printed = capsys.readouterr().out
    assert note in printed
    assert bool(note) == bool(printed)


def test_demo_has_threads_where_load_is_unknown(monkeypatch, capsys):
    monkeypatch.delattr("os.getloadavg")
    monkeypatch.setattr("torch.set_num_threads", None)
    runpy.run_path(str(ROOT / "examples/blood-cells/demo.py"))["fit_threads"]()
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_demo_goes_on_where_it_was_stopped(tmp_path):
    """The quick demo for one step, stopped during the second, and by the same command to its end."""
    few = ["--set", "train.batch_size=1", "--set", "data.val=null", "--set", "train.log_every=1"]
    command = [sys.executable, str(ROOT / "examples/blood-cells/demo.py"), "--quick", "--output", str(tmp_path / "run")]
    with subprocess.Popen(
        [*command, *few, "--set", "train.steps=500"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if line.startswith("beginning at step"):
                demo.send_signal(signal.SIGINT)
    assert demo.returncode == 130
    assert any(line.startswith("[2/5] training: 500 steps into") for line in lines)
    assert "last.state.pt (to go on from). The same command goes on." in lines[-1]
    step = int(re.search(r"Stopped after step (\d+)", lines[-1])[1])
    more = [*few, "--set", f"train.steps={step + 1}"]
    done = subprocess.run([*command, *more], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"going on after step {step}" in done.stderr
    assert "[5/5] writing results" in done.stdout
    assert "test (24 images)" in (tmp_path / "run" / "results.md").read_text()
    assert {"results.md", "test.png", "curves.png"} <= {file.name for file in (tmp_path / "run").iterdir()}
