"""examples/first_steps.ipynb: kept without outputs, and it runs from the top."""

import ast
import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "first_steps.ipynb"


def cells(kind):
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [each for each in content["cells"] if each["cell_type"] == kind]


def test_notebook_is_kept_without_outputs():
    assert cells("code")
    assert not [each for each in cells("code") if each["outputs"] or each["execution_count"]]


def test_notebook_is_python_and_names_existing_files():
    for cell in cells("code"):
        ast.parse("".join(cell["source"]))
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert (ROOT / "examples/blood-cells/images/BloodImage_00000.jpg").exists()
    assert all(
        (ROOT / name).exists() for name in ("docs/data.md", "docs/training.md", "docs/low-ap.md") if name in text
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_notebook_runs_from_the_top(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (settings,) = [each for each in notebook.cells if each.source == "steps = 60"]
    settings.source = "steps = 2"
    nbclient.NotebookClient(notebook, timeout=1500, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for each in notebook.cells if each.cell_type == "code" for output in each.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    assert "bbox/AP50" in json.dumps(outputs)
    assert (tmp_path / "runs" / "first-steps" / "best.safetensors").exists()
