"""CityscapesDataset: outlines drawn one over the other, crowds, and files that cannot be used."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from det_core.contracts import Dataset, Indexed
from det_core.errors import DataError
from det_core.zoo.class_names import CITYSCAPES_CLASSES
from det_datasets.readers import CityscapesDataset
from PIL import Image


def square(label: str, x0: int, y0: int, x1: int, y1: int, **more: Any) -> dict[str, Any]:
    """Drawing includes the last row and column."""
    return {"label": label, "polygon": [[x0, y0], [x1, y0], [x1, y1], [x0, y1]], **more}


def write(folder: Path, *objects: Any, name: str = "ulm/ulm_000_1", size: tuple[int, int] = (30, 40)) -> None:
    for path in (folder / "left" / name, folder / "fine" / name):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30)).save(folder / "left" / f"{name}_leftImg8bit.png")
    content = {"imgHeight": size[0], "imgWidth": size[1], "objects": list(objects)}
    (folder / "fine" / f"{name}_gtFine_polygons.json").write_text(json.dumps(content))


def dataset(folder: Path, *objects: Any, **options: Any) -> CityscapesDataset:
    write(folder, *objects)
    return CityscapesDataset(folder / "left", folder / "fine", **options)


def test_later_polygons_hide_earlier_ones(tmp_path: Path) -> None:
    scene = (
        square("road", 0, 0, 39, 29),
        square("car", 2, 4, 11, 13),
        square("person", 20, 4, 23, 7),
        square("pole", 8, 0, 39, 29),  # hides the person, and the right part of the car
        square("bicycle", 30, 20, 33, 23),
    )
    data = dataset(tmp_path, *scene, masks="bitmaps")
    assert isinstance(data, Dataset)
    assert isinstance(data, Indexed)
    sample = data[0]
    assert (len(data), sample.id, sample.size) == (1, "ulm_000_1_leftImg8bit", (30, 40))
    targets = sample.targets
    assert targets is not None
    assert [CITYSCAPES_CLASSES[label] for label in targets.labels] == ["car", "bicycle"]
    assert targets.boxes.tolist() == [[2, 4, 8, 14], [30, 20, 34, 24]]
    assert targets.areas is not None
    assert targets.areas.tolist() == [60, 16]
    assert isinstance(targets.masks, torch.Tensor)
    assert targets.masks.sum((1, 2)).tolist() == [60, 16]
    assert targets.masks[0, 4:14, 2:8].all()
    assert [CITYSCAPES_CLASSES[label] for label in data.labels_of(0)] == ["car", "person", "bicycle"]
    assert data.size_of(0) == (30, 40)


def test_groups_are_crowds_one_for_each_class(tmp_path: Path) -> None:
    scene = (square("cargroup", 0, 0, 3, 3), square("persongroup", 9, 0, 9, 3), square("cargroup", 20, 10, 23, 13))
    targets = dataset(tmp_path, *scene)[0].targets
    assert targets is not None
    assert targets.crowd is not None
    assert targets.crowd.tolist() == [True, True]
    assert targets.boxes.tolist() == [[0, 0, 24, 14], [9, 0, 10, 4]]
    assert targets.masks is None


def test_deleted_outlines_and_licence_plates_are_not_drawn(tmp_path: Path) -> None:
    scene = (square("car", 2, 4, 11, 13), square("license plate", 3, 5, 5, 6), square("bus", 2, 4, 9, 9, deleted=1))
    targets = dataset(tmp_path, *scene)[0].targets
    assert targets is not None
    assert targets.areas is not None
    assert targets.areas.tolist() == [100]
    assert targets.labels.tolist() == [2]


def test_images_without_single_objects_can_be_left_out(tmp_path: Path) -> None:
    write(tmp_path, square("cargroup", 0, 0, 3, 3), name="bonn/bonn_1")
    write(tmp_path, name="bonn/bonn_2")
    data = dataset(tmp_path, square("car", 0, 0, 3, 3))
    assert [len(data), data.num_objects] == [3, 2]
    data = CityscapesDataset(tmp_path / "left", tmp_path / "fine", keep_empty=False)
    assert [data[index].id for index in range(len(data))] == ["ulm_000_1_leftImg8bit"]


def test_pickled_dataset_reads_same_samples(tmp_path: Path) -> None:
    data = dataset(tmp_path, square("car", 0, 0, 3, 3))
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again[0].targets.boxes, data[-1].targets.boxes)  # type: ignore[union-attr]
    with pytest.raises(IndexError):
        data[1]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"label": "dragon", "polygon": []}, r"polygons.json: object 2: is called 'dragon', which is no label"),
        ({"label": "car"}, r"object 2: has a polygon that is not"),
        ({"label": "car", "polygon": [[1, 2], [3]]}, r"object 2: has a polygon that is not"),
        ({"label": "car", "polygon": [[1, 2], [1e9, 3]]}, r"object 2: has a polygon that is not"),
        ({"label": "car", "polygon": [[1, 2], [True, 3]]}, r"object 2: has a polygon that is not"),
        ({"polygon": []}, r"object 2: has no label"),
        (5, r"object 2: has no label"),
    ],
)
def test_invalid_polygons_are_reported(tmp_path: Path, entry: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        dataset(tmp_path, square("car", 0, 0, 3, 3), entry)


def test_invalid_files_are_reported(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    Image.new("RGB", (41, 30)).save(tmp_path / "left" / "ulm" / "ulm_000_1_leftImg8bit.png")
    with pytest.raises(DataError, match=r"ulm_000_1_leftImg8bit.png: the image has 41 x 30 .*polygons.json gives 40 x"):
        data[0]
    write(tmp_path, size=(0, 40))
    with pytest.raises(DataError, match=r"polygons.json: does not give the size of its image"):
        CityscapesDataset(tmp_path / "left", tmp_path / "fine")
    outlines = tmp_path / "fine" / "ulm" / "ulm_000_1_gtFine_polygons.json"
    for text, sentence in [("{", "not valid JSON"), ("[]", "is no polygon file"), ("[" * 99999, "not valid JSON")]:
        outlines.write_text(text)
        with pytest.raises(DataError, match=sentence):
            CityscapesDataset(tmp_path / "left", tmp_path / "fine")
    outlines.unlink()
    with pytest.raises(DataError, match=r"polygons.json: there is no such polygon file"):
        CityscapesDataset(tmp_path / "left", tmp_path / "fine")
    with pytest.raises(DataError, match=r"fine: holds no file called NAME_leftImg8bit.png"):
        CityscapesDataset(tmp_path / "fine", tmp_path / "fine")
    with pytest.raises(DataError, match=r"nowhere: there is no such folder of images"):
        CityscapesDataset(tmp_path / "nowhere", tmp_path / "fine")


def test_void_does_not_hold_single_caravans_and_trailers(tmp_path: Path) -> None:
    scene = (
        square("road", 0, 0, 39, 29),
        square("caravan", 0, 0, 3, 3),
        square("trailer", 10, 0, 13, 3),
        square("caravangroup", 20, 0, 23, 3),
        square("trailergroup", 30, 0, 33, 3),
        square("parking", 0, 10, 3, 13),
        square("car", 10, 10, 13, 13),
        square("trailer", 10, 10, 13, 11),
    )
    targets = dataset(tmp_path, *scene, masks=True)[0].targets
    assert targets is not None
    void = targets.image_extras["cityscapes/void"]
    assert [bool(void[y, x]) for x, y in ((1, 1), (11, 1), (21, 1), (31, 1), (1, 11), (11, 11), (11, 13))] == [
        False,
        False,
        True,
        True,
        True,
        False,
        False,
    ]
    assert int(void.sum()) == 3 * 16
    assert targets.areas is not None
    assert targets.areas.tolist() == [8]  # the trailer hides half of the car
