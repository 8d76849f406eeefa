"""Masks of many objects in a large image stay small until somebody draws them."""

import pytest
import torch
from det_core import Detector
from det_core.errors import ConfigError
from det_core.structures import Detections, Prediction
from torch import nn

SIZE = (3000, 4000)
OBJECTS = 100


class Crowd(nn.Module):
    """Finds a hundred objects side by side, the left half of each in its mask, whatever it is shown."""

    def __init__(self, masks=True):
        super().__init__()
        self.num_classes, self.masks = 1, masks

    def forward(self, batch, targets=None):
        corners = torch.arange(OBJECTS)[:, None] * torch.tensor([40.0, 0.0])
        boxes = torch.cat((corners, corners + 30), 1)
        masks = torch.zeros(OBJECTS, 28, 28)
        masks[:, :, :14] = 1
        found = Detections(
            boxes=boxes,
            labels=torch.zeros(OBJECTS, dtype=torch.int64),
            scores=torch.linspace(0.9, 0.6, OBJECTS),
            size=SIZE,
            masks=masks if self.masks else None,
        )
        return [Prediction(detections=found) for _ in batch.sizes]


def detected(**options):
    image = torch.zeros(3, *SIZE, dtype=torch.uint8)
    return Detector(Crowd(**options), ["cell"], device="cpu")(image)


def test_mask_grids_of_hundred_objects_need_under_one_megabyte():
    masks = detected().detections.masks
    assert masks.shape == (OBJECTS, 28, 28)
    assert masks.untyped_storage().nbytes() < 1e6


def test_each_is_drawn_when_it_is_asked_for():
    masks = detected().masks
    assert len(masks) == OBJECTS
    assert masks[0].shape == SIZE
    for row, mask in enumerate(masks[2:4], start=2):
        expected = torch.zeros(SIZE, dtype=torch.bool)
        expected[:30, 40 * row : 40 * row + 15] = True
        assert torch.equal(mask, expected)


def test_mask_grids_to_coco_rle_has_exact_area():
    result = detected()
    first = result.to_coco(1)[0]["segmentation"]
    assert first["size"] == list(SIZE)
    # 15 columns of 30 pixels from the first pixel on: nothing before, 30 in, 2970 out ...
    from pycocotools import mask as coco_mask

    assert coco_mask.area(first) == 15 * 30


def test_masks_of_model_without_masks_raise_error():
    with pytest.raises(ConfigError, match=r"Result\.masks: this model makes no masks; use Result\.detections"):
        _ = detected(masks=False).masks
