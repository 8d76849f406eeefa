"""Test-time augmentation with a stand-in that reads what it says from the pixels."""

from typing import Any

import numpy as np
import pytest
import torch
from det_core.errors import ConfigError
from det_core.structures import Detections, ImageBatch, Prediction
from det_densepose.augmented import AugmentedDensePose, rotated_image
from det_densepose.bodies.body import FIGURE
from det_densepose.results.rotation import Rotation
from det_densepose.structures import PREFIX
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align


class Painted(nn.Module):
    """Says of a box what is painted in it: red is the left hand, green the right one, and nothing the background."""

    num_classes = 1

    def forward(self, batch: ImageBatch, targets: Any = None) -> Any:
        height, width = batch.sizes[0]
        box = torch.tensor([[0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height]])
        found = Detections(
            boxes=box, labels=torch.zeros(1, dtype=torch.int64), scores=torch.ones(1), size=batch.sizes[0]
        )
        return [Prediction(detections=found)]

    def predict_given_boxes(self, batch: ImageBatch, given: list[Detections]) -> list[Detections]:
        [found] = given
        index = torch.zeros(len(found), 1)
        seen = roi_align(batch.pixels, torch.cat((index, found.boxes), 1), 16, 1.0, 2, aligned=True) / 255
        fine = torch.zeros(len(found), 25, 16, 16)
        fine[:, 0], fine[:, 3], fine[:, 4] = 0.3, seen[:, 1], seen[:, 0]
        coarse = torch.stack((torch.full((len(found), 16, 16), 0.3), seen[:, :2].amax(1)), 1)
        half = torch.full_like(fine, 0.5)
        raw = {"coarse_segm": coarse, "fine_segm": fine, "u": half, "v": half}
        extras = {PREFIX + name: value for name, value in raw.items()}
        return [Detections(**{**vars(found), "extras": extras})]


def picture() -> Tensor:
    image = torch.zeros(3, 64, 64)
    image[0, 16:48, 16:30] = 255
    image[1, 16:30, 36:48] = 255
    return image


def described(**arguments: Any) -> Tensor:
    model = AugmentedDensePose(Painted(), sizes=(64,), body=FIGURE, **arguments)
    [prediction] = model(ImageBatch(pixels=picture()[None], sizes=((64, 64),)))  # type: ignore[misc]
    found: Tensor = prediction.detections.extras[f"{PREFIX}fine_segm"]
    return found


def test_augmented_without_further_views_is_the_model() -> None:
    plain = described(flip=False)
    assert plain.shape == (1, 25, 16, 16)
    assert plain[0, :, 2, 2].argmax() == 4


def test_augmented_mirrored_view_is_mirrored_back_with_its_parts() -> None:
    plain, both = described(flip=False), described(flip=True)
    # The mirrored view takes red for the left hand too, which in the image is the right one.
    assert both[0, 4, 2, 2] == pytest.approx(0.5 * float(plain[0, 4, 2, 2]), abs=1e-3)
    assert both[0, 3, 2, 2] == pytest.approx(0.5 * float(plain[0, 4, 2, 2]), abs=1e-3)


def test_augmented_turned_views_agree_with_the_straight_one() -> None:
    plain = described(flip=False)
    for angle in (90, 180, 270):
        turned = described(flip=False, angles=(angle,))
        assert F.l1_loss(turned[:, 1:], plain[:, 1:]) < 0.01


def test_augmented_by_45_degrees_is_an_error() -> None:
    with pytest.raises(ConfigError, match="45 degrees"):
        AugmentedDensePose(Painted(), angles=(45,))


def test_rotated_image_by_a_quarter_is_exact() -> None:
    image = torch.rand(1, 5, 8)
    assert np.allclose(rotated_image(image, Rotation((5, 8), 90)), torch.rot90(image, 1, (1, 2)), atol=1e-5)
