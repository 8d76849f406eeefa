"""Whatever a reader leaves out is counted, and reported wherever the dataset is used."""

import warnings
from pathlib import Path

import pytest
from det_core import engine
from det_core.cli.eval import _evaluate
from det_core.data import (
    CocoDataset,
    Data,
    LeftOutWarning,
    left_out,
    left_out_notes,
)
from det_core.recipes import Factory
from det_devkit import coco_files


def test_coco_skipped_annotations_and_images_are_counted(tmp_path: Path) -> None:
    dataset = coco_files.dataset(tmp_path, coco_files.damaged(), bad_annotations="skip", keep_empty=False)
    assert len(dataset) == 1
    assert left_out(dataset) == {
        "annotations that cannot be used": 2,
        "images without an object to learn from": 3,
    }
    first, second = left_out_notes(dataset, "data.train")
    assert first.startswith("data.train: annotations that cannot be used, left out: 2; the first: annotation 111 has")
    assert second == "data.train: images without an object to learn from, left out: 3"


def test_coco_classes_and_keypoints_not_chosen_are_counted(tmp_path: Path) -> None:
    data = coco_files.content(4)
    data["categories"][0]["keypoints"] = ["a"]
    data["annotations"][0]["keypoints"] = [5, 5, 2]
    dataset = coco_files.dataset(tmp_path, data, classes=["cat"], keypoints=True, min_keypoints=1)
    assert left_out(dataset) == {"objects of classes that were not chosen": 2, "images with too few keypoints": 3}


def test_whole_dataset_leaves_nothing_out(tmp_path: Path) -> None:
    dataset = coco_files.dataset(tmp_path)
    assert (left_out(dataset), left_out_notes(dataset, "x")) == ({}, [])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Data(train=Factory(CocoDataset, images=dataset.images, annotations=dataset.annotations)).dataset("train")


def test_dataset_of_a_plugin_with_sentences_alone_is_counted() -> None:
    class Plugin:
        skipped = ("image a is cut short", "image b is cut short")

    class Empty(Plugin):
        left_out: dict[str, int] = {}

    assert left_out_notes(Empty(), "data.val") == left_out_notes(Plugin(), "data.val")
    [note] = left_out_notes(Plugin(), "data.val")
    assert note == "data.val: entries that cannot be used, left out: 2; the first: image a is cut short"


def test_data_warns_once_where_a_dataset_is_built(tmp_path: Path) -> None:
    images, file = coco_files.write(tmp_path, coco_files.damaged())
    data = Data(train=Factory(CocoDataset, images=images, annotations=file, bad_annotations="skip"))
    with pytest.warns(
        LeftOutWarning, match=r"data.train: annotations that cannot be used, left out: 2; the first: ann"
    ):
        data.dataset("train")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.dataset("train")


def test_eval_notes_say_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, file = coco_files.write(tmp_path, coco_files.damaged())
    data = Data(test=Factory(CocoDataset, images=images, annotations=file, bad_annotations="skip"), evaluators=[])
    monkeypatch.setattr(engine, "evaluate", lambda *_, **__: engine.Evaluation({"loss": 1.0}, ("seen",)))
    monkeypatch.setattr(engine, "check_classes", lambda *_: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result, _ = _evaluate(None, data, "test", 1, False, None, None, (0, 1))
    assert [note[:62] for note in result.notes] == [
        "data.test: annotations that cannot be used, left out: 2; the f",
        "seen",
    ]
