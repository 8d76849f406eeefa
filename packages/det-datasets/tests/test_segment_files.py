"""What `det predict` writes of segments and of classes of pixels."""

import json

import numpy as np
import pytest
import torch
from det_core.errors import ConfigError
from det_core.predict.result import Result
from det_core.predict.writers import ImageName
from det_core.structures import Detections, PanopticMap, Prediction, SemanticMap
from det_datasets.segment_files import SegmentWriter, to_coco_panoptic
from PIL import Image

CLASSES, CATEGORIES = ("dog", "sky", "grass"), (18, 187, 193)
DOG = {"id": 1, "label": 0, "is_thing": True, "score": 0.75}
SKY = {"id": 70_000, "label": 1, "is_thing": False}


def panoptic():
    """A dog of 2 x 3 pixels on a sky, and a segment that has no pixel."""
    ids = torch.full((4, 6), 70_000, dtype=torch.int32)
    ids[1:3, 2:5] = 1
    ids[3] = 0
    return PanopticMap(ids=ids, segments=[DOG, SKY, {"id": 5, "label": 2, "is_thing": False}])


def result(**prediction):
    image = torch.zeros(3, 4, 6, dtype=torch.uint8)
    return Result(image=image, prediction=Prediction(**prediction), classes=CLASSES, category_ids=CATEGORIES)


def test_to_coco_panoptic_segments_without_pixels_are_left_out():
    colours, entry = to_coco_panoptic(panoptic(), 7, CATEGORIES, "seven.png")
    assert colours.dtype == np.uint8
    assert colours[1, 2].tolist() == [1, 0, 0]
    assert colours[0, 0].tolist() == [70_000 % 256, 70_000 // 256 % 256, 1]
    assert colours[3, 0].tolist() == [0, 0, 0]
    assert (entry["image_id"], entry["file_name"]) == (7, "seven.png")
    assert entry["segments_info"] == [
        {"id": 1, "category_id": 18, "area": 6, "bbox": [2, 1, 3, 2], "iscrowd": 0, "score": 0.75},
        {"id": 70_000, "category_id": 187, "area": 12, "bbox": [0, 0, 6, 3], "iscrowd": 0},
    ]


def test_to_coco_panoptic_image_without_segments_is_black():
    nothing = PanopticMap(ids=torch.zeros(2, 3, dtype=torch.int32), segments=())
    colours, entry = to_coco_panoptic(nothing, 1, CATEGORIES, "one.png")
    assert colours.shape == (2, 3, 3)
    assert colours.max() == 0
    assert entry["segments_info"] == []


def test_segment_writer_names_images_entries_and_categories(tmp_path):
    writer = SegmentWriter(tmp_path)
    for number in (3, 4):
        writer.write(result(panoptic=panoptic()), ImageName(number, f"{number}.jpg", f"{number}.jpg"))
    assert not (tmp_path / "panoptic.json").exists()
    writer.finish()
    content = json.loads((tmp_path / "panoptic.json").read_text())
    assert content["images"][1] == {"id": 4, "file_name": "4.jpg", "height": 4, "width": 6}
    assert [each["file_name"] for each in content["annotations"]] == ["3.png", "4.png"]
    assert [(each["id"], each["name"], each["isthing"]) for each in content["categories"]] == [
        *((18, "dog", 1), (187, "sky", 0), (193, "grass", 0)),
    ]
    with Image.open(tmp_path / "panoptic" / "4.png") as picture:
        assert picture.mode == "RGB"
        assert np.asarray(picture)[1, 2].tolist() == [1, 0, 0]


def test_segment_writer_semantic_map_becomes_labels(tmp_path):
    logits = torch.zeros(3, 4, 6)
    logits[2, :, :3], logits[1, :, 3:] = 1, 1
    writer = SegmentWriter(tmp_path)
    writer.write(result(semantic=SemanticMap(logits=logits)), ImageName(1, "a.jpg", "a.jpg"))
    writer.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["semantic"]
    with Image.open(tmp_path / "semantic" / "a.png") as picture:
        assert np.asarray(picture).tolist() == [[2, 2, 2, 1, 1, 1]] * 4


def test_segment_writer_skips_detections(tmp_path):
    found = Detections(
        boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64), scores=torch.zeros(0), size=(4, 6)
    )
    writer = SegmentWriter(tmp_path)
    writer.write(result(detections=found), ImageName(1, "a.jpg", "a.jpg"))
    writer.finish()
    assert list(tmp_path.iterdir()) == []


def test_to_coco_panoptic_without_segments_is_refused():
    found = Detections(
        boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64), scores=torch.zeros(0), size=(4, 6)
    )
    with pytest.raises(ConfigError, match="makes no segments"):
        result(detections=found).to_coco_panoptic(1, "a.png")
