"""`Data`: datasets are built when needed, and loaders get what the section says."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from det_core.data import CocoDataset, Data, ResizeShortestEdge
from det_core.errors import ConfigError
from det_core.evaluation import CocoEvaluator
from det_core.recipes.check import Factory, check
from det_devkit.coco_files import content, write


def factory(folder: Path, data: Any = None, **options: Any) -> Factory[Any]:
    folder.mkdir(exist_ok=True)
    images, annotations = write(folder, content() if data is None else data)
    return Factory(CocoDataset, images=images, annotations=annotations, **options)


def test_dataset_is_built_once_when_it_is_asked_for(tmp_path: Path) -> None:
    data = Data(train=factory(tmp_path), val=Factory(CocoDataset, images=Path("no"), annotations=Path("no.json")))
    assert data.dataset("train") is data.dataset("train")
    assert data.dataset("train").classes == ("dog", "cat")


def test_split_that_is_not_named_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.test: is needed here, but the recipe does not name it"):
        Data(train=factory(tmp_path)).dataset("test")


def test_splits_must_agree_on_the_classes(tmp_path: Path) -> None:
    other = content()
    other["categories"][0]["name"] = "cow"
    data = Data(train=factory(tmp_path / "a"), val=factory(tmp_path / "b", other))
    data.dataset("train")
    with pytest.raises(
        ConfigError, match=r"data.val: has other classes than data.train; \['dog', 'cow'\] and \['dog', "
    ):
        data.dataset("val")


def test_loaders_take_what_the_section_says(tmp_path: Path) -> None:
    data = Data(
        train=factory(tmp_path),
        val=factory(tmp_path),
        train_transforms=[ResizeShortestEdge(15)],
        eval_transforms=[ResizeShortestEdge(60)],
        workers=0,
        on_bad_image="skip",
    )
    (tmp_path / "images" / "1.png").unlink()
    batches = list(islice(data.train_loader(2, seed=1, start=4), 2))
    assert batches[0].images.sizes == ((15, 20), (15, 20))
    assert batches[-1].position == 8
    (batch,) = data.eval_loader("val", 8)
    assert batch.images.sizes == ((60, 80), (60, 80))
    assert [sample.size for sample in batch.samples] == [(30, 40), (30, 40)]
    assert len(batch.skipped) == 1


def test_evaluators_are_those_of_dataset_or_of_section(tmp_path: Path) -> None:
    (named,) = Data(val=factory(tmp_path)).build_evaluators("val")
    assert isinstance(named, CocoEvaluator)
    assert (named.classes, named.iou_types) == (("dog", "cat"), ("bbox",))
    data = Data(val=factory(tmp_path), evaluators=[Factory(CocoEvaluator, iou_types=("bbox", "segm"))])
    (chosen,) = data.build_evaluators("val")
    assert isinstance(chosen, CocoEvaluator)
    assert chosen.iou_types == ("bbox", "segm")


def test_wrong_section_is_refused_when_it_is_made() -> None:
    with pytest.raises(ConfigError, match=r"train_transforms\[0\]: must be callable"):
        Data(train_transforms=["flip"])
    with pytest.raises(ConfigError, match="workers: must be at least 0"):
        Data(workers=-1)


def test_recipe_section_is_built(tmp_path: Path) -> None:
    images, annotations = write(tmp_path, content())
    plan = check(
        {
            "train": {"type": "coco", "images": str(images), "annotations": str(annotations), "classes": ["cat"]},
            "train_transforms": [
                {"type": "det_core.data:ResizeShortestEdge", "size": [15, 18], "draw": "range"},
                {"type": "torchvision.transforms.v2:RandomHorizontalFlip", "p": 0.5},
            ],
            "workers": 0,
        },
        Data,
        "data",
    )
    data = plan.build()
    assert data.dataset("train").classes == ("cat",)
    batch = next(iter(data.train_loader(3)))
    assert all(15 <= height <= 18 for height, _ in batch.images.sizes)
    resolved = plan.resolved()
    assert resolved["train"]["type"] == "det-core/coco"
    assert resolved["on_bad_image"] == "stop"
    again = check(resolved, Data, "data").build()
    assert next(iter(again.train_loader(3))).images.sizes == batch.images.sizes
