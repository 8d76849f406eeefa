"""docs/compatibility.md: the table of packages is that of the packages, and a pair is tried as the page says."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
from det_core.plugins import registry
from det_devkit.conformance.subject import Subject
from det_devkit.conformance.tables import ROLES

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("compatibility", ROOT / "docs" / "compatibility.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def subject(kind, name, example=None):
    component = registry.find(kind, f"det-core/{name}")
    return Subject(kind, name, component.load, ROLES[kind], "det-core", example)


def test_compatibility_page_has_the_present_table_of_packages(script):
    page = (ROOT / "docs" / "compatibility.md").read_text()
    assert script.packages_table() in page, "run python docs/compatibility.py --packages"
    assert script.packages_table().count("\n| det-") == len(script.packages())


def test_compatibility_of_a_pair_that_predicts_is_true(script):
    head = subject("heads", "retinanet_head", {"conv_dims": [-1]})
    assert script.outcome(subject("backbones", "fpn", {"out_channels": 32}), head)[0]


def test_compatibility_of_levels_of_different_widths_gives_the_reason(script):
    backbone = subject("backbones", "resnet", {"depth": 18, "res2_channels": 16, "out_features": ["res2", "res4"]})
    works, reason = script.outcome(backbone, subject("heads", "retinanet_head", {"conv_dims": [-1]}))
    assert not works
    assert reason == "RetinaNetHead.in_features: must have as many channels at every level"


def test_compatibility_of_head_without_model_gives_reason(script):
    head = SimpleNamespace(name="other", role=object())
    assert script.outcome(subject("backbones", "fpn"), head) == (False, "no model of core takes it")
