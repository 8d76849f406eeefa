"""A checkpoint of a run that used a plugin which is not installed here says what to install."""

import pytest
from det_core.engine.checkpoint import Checkpoint, save_checkpoint
from det_core.errors import UnknownNameError
from det_core.plugins import versions
from det_core.predict.detector import Detector
from torch import nn


@pytest.fixture(autouse=True)
def without_vitdet(monkeypatch):
    """As if det-vitdet were not installed."""
    installed = versions._installed
    monkeypatch.setattr(versions, "_installed", lambda name: "" if name == "det-vitdet" else installed(name))


COMMAND = "pip install det-vitdet==0.3.1"
DOUBT = "this name comes from the recipe alone; if you trust its author: pip install acme-det==1.2"


@pytest.mark.parametrize(
    ("name", "written_with", "fix"),
    [
        ("det-vitdet/vitdet_b", {"det-vitdet": "0.3.1"}, COMMAND),
        ("det_vitdet.nets:ViT", {"det-vitdet": "0.3.1"}, COMMAND),
        ("acme-det/net", {"acme-det": "1.2"}, DOUBT),
    ],
)
def test_load_checkpoint_of_missing_plugin_error_names_package(tmp_path, name, written_with, fix):
    path = tmp_path / "best.safetensors"
    recipe = f"model: {{type: '{name}'}}\nversions: {written_with}\n"
    save_checkpoint(path, nn.Linear(1, 1), Checkpoint(recipe=recipe, classes=["cell"], versions=written_with))
    with pytest.raises(UnknownNameError) as raised:
        Detector.load(path, device="cpu")
    ((plugin, version),) = written_with.items()
    assert raised.value.where == "model.type"
    assert raised.value.problem == f"this recipe was written with {plugin} {version}, which is not installed"
    assert raised.value.fix == fix
