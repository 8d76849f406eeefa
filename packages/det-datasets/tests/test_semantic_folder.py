"""SemanticFolder: a class for each pixel, from label images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from det_core.contracts import Dataset
from det_core.data import compose
from det_core.errors import DataError
from det_datasets.readers import SemanticFolder
from PIL import Image
from torchvision.transforms import v2

LABELS = np.array([[0, 1, 1], [255, 1, 0]], np.uint8)


def dataset(folder: Path, labels: Any = LABELS, mode: str | None = None, **options: Any) -> SemanticFolder:
    for part in ("images/city", "labels/city"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), "red").save(folder / "images" / "city" / "a.jpg")
    picture = Image.fromarray(labels)
    (picture if mode is None else picture.convert(mode)).save(folder / "labels" / "city" / "a.png")
    return SemanticFolder(folder / "images", folder / "labels", ["road", "sky"], **options)


def test_each_pixel_has_its_class(tmp_path: Path) -> None:
    folder = dataset(tmp_path)
    assert isinstance(folder, Dataset)
    sample = folder[0]
    assert (len(folder), sample.id, sample.size) == (1, "city/a", (2, 3))
    assert sample.targets is not None
    assert sample.targets.semantic is not None
    assert sample.targets.semantic.tolist() == LABELS.tolist()
    assert len(sample.targets) == 0
    flipped = compose([v2.RandomHorizontalFlip(1.0)])(sample).targets
    assert flipped is not None
    assert flipped.semantic is not None
    assert flipped.semantic.tolist() == LABELS[:, ::-1].tolist()


def test_ignore_value_palettes_and_16_bit_labels_are_read(tmp_path: Path) -> None:
    for labels in (
        np.where(LABELS == 255, 9, LABELS).astype(np.uint8),
        np.where(LABELS == 255, 9, LABELS).astype("<u2"),
    ):
        targets = dataset(tmp_path, labels, ignore=9)[0].targets
        assert targets is not None
        assert targets.semantic is not None
        assert targets.semantic.tolist() == LABELS.tolist()
    picture = Image.fromarray(LABELS, "P")
    picture.putpalette(list(range(256)) * 3)
    picture.save(tmp_path / "labels" / "city" / "a.png")
    targets = SemanticFolder(tmp_path / "images", tmp_path / "labels", ["road", "sky"])[0].targets
    assert targets is not None
    assert targets.semantic is not None
    assert targets.semantic.tolist() == LABELS.tolist()


def test_names_may_differ_in_their_ends(tmp_path: Path) -> None:
    for part, name in (("i", "x_left.png"), ("l", "x_ids.png"), ("i", "x_other.png")):
        (tmp_path / part).mkdir(exist_ok=True)
        Image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / part / name)
    folder = SemanticFolder(tmp_path / "i", tmp_path / "l", ["a"], image_suffix="_left.png", label_suffix="_ids.png")
    assert [folder[0].id, len(folder)] == ["x", 1]


@pytest.mark.parametrize(
    ("labels", "mode", "sentence"),
    [
        (np.zeros((3, 3), np.uint8), None, r"a.png: has 3 x 3 pixels; its image has 3 x 2"),
        (np.full((2, 3), 7, np.uint8), None, r"a.png: holds values that are no label; 6 pixels have such as 7, of 2"),
        (LABELS, "RGB", r"a.png: has colors of mode RGB"),
    ],
)
def test_invalid_label_images_are_reported(tmp_path: Path, labels: Any, mode: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        dataset(tmp_path, labels, mode)[0]


def test_missing_and_broken_files_are_reported(tmp_path: Path) -> None:
    folder = dataset(tmp_path)
    path = tmp_path / "labels" / "city" / "a.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"a.png: cannot be read as a label image"):
        folder[0]
    path.unlink()
    with pytest.raises(DataError, match=r"a.png: there is no such label image"):
        folder[0]
    with pytest.raises(DataError, match=r"nowhere: there is no such folder"):
        SemanticFolder(tmp_path / "nowhere", tmp_path, ["a"])
    with pytest.raises(DataError, match=r"labels: the folder holds no image"):
        SemanticFolder(tmp_path / "labels", tmp_path, ["a"])
