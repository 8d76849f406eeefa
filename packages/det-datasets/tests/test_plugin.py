"""Names: those of today, and those of the time when all of this stood in det-core."""

from pathlib import Path

import pytest
from det_core import recipes
from det_core.plugins import known, registry
from det_core.predict.loading import _known_classes
from det_core.recipes.moved import current
from det_core.recipes.upgrades import upgrade
from det_core.zoo import published
from det_datasets.evaluators import VocEvaluator
from det_datasets.readers import CityscapesDataset, LvisDataset, VocDataset, YoloDataset


@pytest.mark.parametrize("name", ["voc", "det-datasets/voc", "det-core/voc", "Det_Core/voc"])
def test_short_qualified_and_earlier_component_names_resolve(name: str) -> None:
    assert registry.find("datasets", name).load() is VocDataset
    assert registry.find("evaluators", name).load() is VocEvaluator


@pytest.mark.parametrize(
    ("path", "reader"),
    [
        ("det_core.data:VocDataset", VocDataset),
        ("det_core.data.voc:VocDataset", VocDataset),
        ("det_core.data.formats.voc:VocDataset", VocDataset),
        ("det_core.data.formats.lvis:LvisDataset", LvisDataset),
        ("det_core.data.cityscapes:CityscapesDataset", CityscapesDataset),
        ("det_core.data.yolo:YoloDataset", YoloDataset),
        ("det_core.evaluation.voc:VocEvaluator", VocEvaluator),
    ],
)
def test_earlier_import_path_in_recipe_resolves(path: str, reader: type) -> None:
    assert registry.import_target(current(path)) is reader
    upgraded = upgrade({"data": {"train": {"type": path}}})["data"]["train"]["type"]
    assert registry.import_target(upgraded) is reader


@pytest.mark.parametrize(
    ("name", "published_name"),
    [
        ("voc_faster_rcnn_r50_c4", "PascalVOC-Detection/faster_rcnn_R_50_C4"),
        ("lvis_v1_mask_rcnn_r101_fpn_1x", "LVISv1-InstanceSegmentation/mask_rcnn_R_101_FPN_1x"),
        ("cityscapes_mask_rcnn_r50_fpn", "Cityscapes/mask_rcnn_R_50_FPN"),
    ],
)
def test_recipe_by_every_name_is_one_and_fits(name: str, published_name: str) -> None:
    recipe = recipes.load(name)
    assert recipe.source == f"det-datasets/{name}"
    for other in (f"det-core/{name}", published_name, f"det-core/{published_name}"):
        assert recipes.load(other) == recipe
        assert published.of_recipe(other).name == published_name
    assert known.provider(published_name) == "det-datasets"
    recipe.check()


def test_resolved_recipe_of_earlier_names_has_those_of_today(tmp_path: Path) -> None:
    path, reader = tmp_path / "r.yaml", "{type: det-core/voc, folder: VOC2007, split: test}"
    data = f"data: {{val: {reader}, evaluators: [{{type: det-core/voc}}]}}"
    path.write_text(f"extends: det-core/voc_faster_rcnn_r50_c4\n{data}\n")
    resolved = recipes.load(path).resolved().tree["data"]
    assert resolved["val"]["type"] == resolved["evaluators"][0]["type"] == "det-datasets/voc"


@pytest.mark.parametrize("name", ["voc", "det-core/voc", "det_core.data:VocDataset"])
def test_untrusted_recipe_may_name_a_reader_by_every_name(name: str) -> None:
    tree = {"model": {"type": "faster_rcnn"}, "data": {"val": {"type": name, "folder": "a", "split": "b"}}}
    recipe = recipes.recipe_from_tree(tree, trusted=False)
    assert recipe.build("data").val.target is VocDataset


def test_known_classes_published_recipe_those_of_its_dataset():
    assert _known_classes(recipes.load("lvis_v1_mask_rcnn_r50_fpn_1x"), 1203)[1] == tuple(range(1, 1204))
    assert _known_classes(recipes.load("voc_faster_rcnn_r50_c4"), 20)[0][0] == "aeroplane"
    assert _known_classes(recipes.load("cityscapes_mask_rcnn_r50_fpn"), 8)[0][1] == "rider"
