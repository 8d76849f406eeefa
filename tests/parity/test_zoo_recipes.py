"""The recipes that come with core are what importing the published configurations gives, and build their models."""

import functools
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from det_core import recipes
from det_core.importers.detectron2 import recipe_from_settings
from det_core.importers.files import recipe_from_file
from det_core.zoo import PUBLISHED

NAMES = {f"{folder}/{path}": name for folder, names in PUBLISHED.items() for name, path in names.items()}
FILE = Path(__file__).parents[1] / "reference" / "zoo.json.gz"
SECTIONS = ("model", "weights", "data", "train")


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    """The published configurations of core; the same state dict as another's is that one's name."""
    found: dict[str, Any] = json.loads(gzip.decompress(FILE.read_bytes()))
    for each in found.values():
        if isinstance(each["state_dict"], str):
            each["state_dict"] = found[each["state_dict"]]["state_dict"]
    return found


def test_all_published_configurations_of_core_have_a_recipe(published: dict[str, Any]) -> None:
    assert published.keys() == NAMES.keys()


@functools.cache
def resolved(name: str) -> Mapping[str, Any]:
    return recipes.load(name).resolved().tree


@functools.cache
def shapes(model: str) -> tuple[dict[str, list[int]], int]:
    """The shapes of the state dict, and the number of parameters, of the model that this text describes."""
    with torch.device("meta"):
        built = recipes.recipe_from_tree({"model": json.loads(model)}).build_model()
    parameters = sum(parameter.numel() for parameter in built.parameters())
    return {key: list(value.shape) for key, value in built.state_dict().items()}, parameters


@pytest.mark.parametrize("path", NAMES)
def test_a_recipe_equals_the_imported_configuration(path: str, published: dict[str, Any]) -> None:
    found = recipe_from_settings(published[path]["settings"])
    ours, theirs = resolved(NAMES[path]), recipes.recipe_from_tree(found.tree).resolved().tree
    assert {section: ours.get(section) for section in SECTIONS} == {
        section: theirs.get(section) for section in SECTIONS
    }
    assert found.unknown == found.unused == []


def test_every_configuration_that_is_a_yaml_file_comes_out_of_its_file_as_out_of_its_settings(
    published: dict[str, Any], tmp_path: Path
) -> None:
    for path, each in published.items():
        if "model.kind" in each["settings"]:
            continue
        nested: dict[str, Any] = {}
        for key, value in each["settings"].items():
            *sections, name = key.split(".")
            functools.reduce(lambda node, section: node.setdefault(section, {}), sections, nested)[name] = value
        file = tmp_path / "configuration.yaml"
        file.write_text(yaml.safe_dump(nested))
        found, expected = recipe_from_file(file), recipe_from_settings(each["settings"])
        assert {**found.tree, "summary": ""} == {**expected.tree, "summary": ""}, path
        assert found.unknown == found.unused == []


@pytest.mark.parametrize("path", NAMES)
def test_its_model_has_the_published_keys_shapes_and_number_of_parameters(path: str, published: dict[str, Any]) -> None:
    keys, parameters = shapes(json.dumps(resolved(NAMES[path])["model"]))
    assert keys == published[path]["state_dict"]
    assert parameters == published[path]["params"]


def test_the_recipe_of_rotated_boxes_is_that_of_the_recorded_case(refpack: ModuleType) -> None:
    spec = refpack.Case("rotated_faster_rcnn_R_50_FPN", FILE.with_name("cases")).spec
    theirs = recipes.recipe_from_tree(recipe_from_settings(spec["settings"]).tree).resolved().tree
    ours = resolved("rotated_faster_rcnn_r50_fpn_3x")
    assert all(ours[section] == theirs[section] for section in ("model", "data", "train"))
    assert shapes(json.dumps(ours["model"]))[0] == spec["state_dict"]
