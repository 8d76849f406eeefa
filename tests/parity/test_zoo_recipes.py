"""The recipes of the packages are what importing the published configurations gives, and build their models."""

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
from det_core import recipes, zoo
from det_datasets.plugin import PUBLISHED as PUBLISHED_OF_DATASETS
from det_detectron2.importer.files import recipe_from_file, recipe_from_settings

FOLDER = Path(__file__).parents[1] / "reference" / "zoo"
# What these configurations set that has no counterpart here, and that the importer therefore lists.
REPORTED: dict[str, tuple[str, ...]] = {
    "d2go/faster_rcnn_fbnetv3a_C4_FSDP": ("D2GO_DATA.TEST.MAX_IMAGES", "FSDP.", "MODEL.MODELING_HOOKS"),
    "d2go/faster_rcnn_fbnetv3a_C4_LSJ": ("INPUT.RECOMPUTE_BOXES",),
    "d2go/qat_faster_rcnn_fbnetv3a_C4": ("QUANTIZATION.",),
}
SECTIONS = ("model", "weights", "data", "train")


def _read() -> dict[str, Any]:
    """The published configurations of all packages; the same state dict as another's is that one's name."""
    found: dict[str, Any] = {}
    for file in sorted(FOLDER.glob("*.json.gz")):
        own = json.loads(gzip.decompress(file.read_bytes()))
        for each in own.values():
            if isinstance(each["state_dict"], str):
                each["state_dict"] = own[each["state_dict"]]["state_dict"]
        found |= own
    return found


PUBLISHED = _read()


def test_all_published_configurations_of_core_have_a_recipe() -> None:
    core = json.loads(gzip.decompress((FOLDER / "det-core.json.gz").read_bytes()))
    tables = [*zoo.PUBLISHED.items(), *PUBLISHED_OF_DATASETS.items()]
    assert core.keys() == {f"{folder}/{path}" for folder, names in tables for path in names.values()}


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


@pytest.mark.parametrize("path", PUBLISHED)
def test_recipe_equals_imported_configuration(path: str) -> None:
    found = recipe_from_settings(PUBLISHED[path]["settings"])
    ours, theirs = resolved(path), recipes.recipe_from_tree(found.tree).resolved().tree
    assert {section: ours.get(section) for section in SECTIONS} == {
        section: theirs.get(section) for section in SECTIONS
    }
    assert found.unknown == []
    assert [key for key in found.unused if not key.startswith(REPORTED.get(path, ("-",)))] == []


def test_yaml_file_imports_like_its_settings(
    tmp_path: Path,
) -> None:
    for path, each in PUBLISHED.items():
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
        assert (found.unknown, found.unused) == (expected.unknown, expected.unused)


@pytest.mark.parametrize("path", PUBLISHED)
def test_model_has_published_keys_shapes_and_parameter_count(path: str) -> None:
    keys, parameters = shapes(json.dumps(resolved(path)["model"]))
    assert keys == PUBLISHED[path]["state_dict"]
    assert parameters == PUBLISHED[path]["params"]


def test_rotated_recipe_equals_recorded_case(refpack: ModuleType) -> None:
    spec = refpack.Case("rotated_faster_rcnn_R_50_FPN", FOLDER.with_name("cases")).spec
    theirs = recipes.recipe_from_tree(recipe_from_settings(spec["settings"]).tree).resolved().tree
    ours = resolved("rotated_faster_rcnn_r50_fpn_3x")
    assert all(ours[section] == theirs[section] for section in ("model", "data", "train"))
    assert shapes(json.dumps(ours["model"]))[0] == spec["state_dict"]
