"""YoloDataset: shares become pixels, outlines become masks, and what is wrong is told by file and line."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from det_core.errors import DataError
from det_datasets.readers import YoloDataset
from PIL import Image

NAMES = ("cell", "platelet")


def dataset(folder: Path, *texts: str | None, classes: Any = NAMES, **options: Any) -> YoloDataset:
    images, labels = folder / "images" / "train", folder / "labels" / "train"
    for part in (images, labels):
        part.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        Image.new("RGB", (40, 30)).save(images / f"a{number}.png")
        if text is not None:
            (labels / f"a{number}.txt").write_text(text)
    return YoloDataset(images, classes, **options)


def test_relative_boxes_become_pixels_and_missing_file_is_empty(tmp_path: Path) -> None:
    yolo = dataset(tmp_path, "0 0.5 0.5 0.25 0.2\n\n1 0.1 0.5 0.1 1\n", None, "")
    assert (len(yolo), yolo.classes, yolo.num_objects) == (3, NAMES, 2)
    targets = yolo[0].targets
    assert targets is not None
    # Centre (20, 15), 10 wide and 6 high; centre (4, 15), 4 wide and as high as the image.
    assert targets.boxes.tolist() == [[15, 12, 25, 18], [2, 0, 6, 30]]
    assert targets.labels.tolist() == [0, 1]
    assert (yolo[0].id, yolo.size_of(2), list(yolo.labels_of(1))) == ("a0", (30, 40), [])
    assert yolo[1].targets is not None
    assert len(yolo[1].targets) == 0


def test_line_of_many_numbers_is_polygon(tmp_path: Path) -> None:
    # The triangle (4, 3), (24, 3), (4, 18): half of 20 x 15 pixels.
    line = "1 0.1 0.1 0.6 0.1 0.1 0.6"
    targets = dataset(tmp_path, line, masks=True)[0].targets
    assert targets is not None
    assert targets.boxes.tolist() == [[4, 3, 24, 18]]
    assert targets.areas is not None
    assert targets.areas.tolist() == [150]
    assert isinstance(targets.masks, torch.Tensor)
    assert abs(int(targets.masks.sum()) - 150) < 20
    outlines = dataset(tmp_path, line, masks="polygons")[0].targets
    assert outlines is not None
    assert [ring.tolist() for rings in outlines.masks for ring in rings] == [[[4, 3], [24, 3], [4, 18]]]


def test_classes_come_from_yaml_or_from_a_text_file(tmp_path: Path) -> None:
    line = "1 0.5 0.5 0.25 0.2"
    for name, text in {
        "a.yaml": "path: ../x\nnames:\n  0: cell\n  1: platelet\n",
        "b.yml": "nc: 2\nnames: [cell, platelet]",
        "c.txt": "cell\nplatelet\n",
    }.items():
        (tmp_path / name).write_text(text)
        assert dataset(tmp_path, line, classes=tmp_path / name).classes == NAMES


def test_labels_folder_is_derived_from_images_or_given(tmp_path: Path) -> None:
    dataset(tmp_path, "0 0.5 0.5 0.25 0.2")
    other = (tmp_path / "labels" / "train").rename(tmp_path / "elsewhere")
    assert YoloDataset(tmp_path / "images" / "train", NAMES, labels=other).num_objects == 1
    with pytest.raises(DataError, match="labels/train: there is no such folder of labels"):
        YoloDataset(tmp_path / "images" / "train", NAMES)
    with pytest.raises(DataError, match="does not lead to its labels"):
        YoloDataset(tmp_path / "pictures", NAMES)


def test_pickled_dataset_reads_same_samples(tmp_path: Path) -> None:
    yolo = pickle.loads(pickle.dumps(dataset(tmp_path, "0 0.5 0.5 0.25 0.2")))
    assert yolo[0].targets.boxes.tolist() == [[15, 12, 25, 18]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0 0.5 0.5 0.25 0.2\n2 0.5 0.5 0.2 0.2", r"a0.txt line 2' is of category 2, which is not listed"),
        ("dog 0.5 0.5 0.2 0.2", r"a0.txt line 1' is of category 'dog', which is not listed"),
        ("0 0.5 x 0.2 0.2", r"a0.txt line 1' has the bbox \['0.5', 'x'"),
        ("0 0.5 nan 0.2 0.2", r"a0.txt line 1' has the bbox .*not four finite numbers"),
        ("0 0.5 1e400 0.2 0.2", r"a0.txt line 1' has the bbox .*not four finite numbers"),
        ("0 0.5 0.5 0.2", r"a0.txt line 1' has the bbox .*not four finite numbers"),
        ("0 0.1 0.1 0.6 0.1 0.1", r"a0.txt line 1' has the bbox"),
        ("0 0.5 0.5 0 0.2", r"a0.txt line 1' has a box of width 0"),
        ("0 0.5 0.5 -0.1 0.2", r"a0.txt line 1' has a box of width -4"),
        ("0 320 240 20 20", r"a0.txt line 1' has the bbox .* all outside its image of 40 x 30"),
        ("9" * 400 + " 0.5 0.5 0.2 0.2", r"a0.txt line 1' is of category '999"),
        ("\0\1\2", r"a0.txt line 1' is of category"),
        (b"\xff\xfe\xff", r"a0.txt: is no text, so not the labels of an image"),
    ],
)
def test_errors_give_file_and_line(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    dataset(tmp_path, "")
    raw = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "labels" / "train" / "a0.txt").write_bytes(raw)
    with pytest.raises(DataError, match=sentence):
        YoloDataset(tmp_path / "images" / "train", NAMES)


def test_masks_need_polygons(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a0.txt line 1' has no 'segmentation'"):
        dataset(tmp_path, "0 0.5 0.5 0.25 0.2", masks=True)


def test_unreadable_image_raises_or_is_left_out(tmp_path: Path) -> None:
    dataset(tmp_path, "0 0.5 0.5 0.25 0.2", "0 0.5 0.5 0.25 0.2\n1 0.5 0.5 0 0", bad_annotations="skip")
    (tmp_path / "images" / "train" / "a0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a0.png: is not an image that can be read"):
        YoloDataset(tmp_path / "images" / "train", NAMES)
    yolo = YoloDataset(tmp_path / "images" / "train", NAMES, bad_annotations="skip")
    assert (len(yolo), yolo.num_objects, len(yolo.skipped)) == (1, 1, 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("names: {0: a, 2: b}", "without gaps"),
        ("nc: 3", "has no `names`"),
        ("names: []", "has no `names`"),
        ("names: [[a]]", "has no `names`"),
        ("names: [a", "is not valid YAML"),
        ("[" * 5000, "is not valid YAML"),
        ("x: &x [*x]\nnames: *x", "has no `names`|is not valid YAML"),
    ],
)
def test_invalid_class_list_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=sentence):
        dataset(tmp_path, "", classes=tmp_path / "data.yaml")


def test_class_list_executes_no_code(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(f"names: !!python/object/apply:os.mkdir ['{tmp_path}/made']")
    assert dataset(tmp_path, "", classes=tmp_path / "data.yaml").classes == (f"{tmp_path}/made",)
    assert not (tmp_path / "made").exists()
