"""docs/coming-from.md: each new name of its tables is a command, a Python name, a place in a recipe or a component."""

import importlib
import re
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner
from det_core import Detector, recipes
from det_core.cli.main import det
from det_core.plugins import registry
from det_core.predict import Result
from det_core.structures import Detections

PAGE = Path(__file__).parents[1] / "docs" / "coming-from.md"
RECIPE = "mask_rcnn_r50_fpn_1x"
# What the tables quote beside names: a word of recipes, an argument, the notation of a node.
WORDS = {"detector", "extends", "type", "classes", "classes: data.yaml", "{type: x, ...}"}


def new_names():
    """(section, name) of the last columns, without the heads of the tables."""
    section = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| ") and not line.startswith(("| ---", f"| {section} |")):
            for name in re.findall(r"`([^`]+)`", line.rstrip("| ").rpartition(" | ")[2]):
                yield section, name


NAMES = sorted(set(new_names()))


@pytest.fixture(scope="module")
def tree():
    return recipes.load(RECIPE).resolved().tree


def has_attribute(kind, name):
    return hasattr(kind, name) or name in {field.name for field in fields(kind)}


def check_python(name):
    module, names = name, []
    while True:
        try:
            value = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            names.insert(0, last)
    for each in names:
        value = getattr(value, each)


def check_place(path, tree):
    """The place is in the recipe as it is resolved, or below a value that may be given there."""
    node = tree
    for key in path.split("."):
        node = node[int(key)] if isinstance(node, list) else node[key]


@pytest.mark.parametrize(("section", "name"), NAMES, ids=[f"{section}: {name}" for section, name in NAMES])
def test_new_name_exists(section, name, tree):
    first, _, rest = name.partition(".")
    if name.startswith("det "):
        words = [word for word in name.split()[1:] if not word.startswith("--")]
        shown = CliRunner().invoke(det, [*words, "--help"])
        assert shown.exit_code == 0, shown.output
        assert not [option for option in name.split() if option.startswith("--") and option not in shown.output]
    elif name.startswith("det_"):
        check_python(name)
    elif first in ("model", "train", "data", "weights"):
        check_place(name, tree)
    elif name.startswith("type: "):
        kinds = ("backbones", "datasets", "evaluators", "heads", "models")
        assert [kind for kind in kinds if registry.matches(registry.components(kind), name.removeprefix("type: "))]
    elif first == "result":
        attribute, _, of_detections = rest.partition(".")
        assert has_attribute(Result, attribute) or attribute == "detections"
        assert not of_detections or has_attribute(Detections, of_detections)
    elif first == "detector" and rest:
        assert hasattr(Detector, rest) or rest == "classes"
    elif "/" in name:
        assert name in recipes.names() or recipes.load(name)
    else:
        assert name in WORDS, f"{section}: {name} is no name that can be checked"


@pytest.mark.parametrize("library", ["Detectron2", "torchvision", "ultralytics", "mmdetection"])
def test_library_has_a_table_of_names(library):
    assert sum(section == library for section, _ in NAMES) >= 20
