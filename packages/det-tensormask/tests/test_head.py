"""The head of TensorMask."""

import math

import pytest
import torch
from det_core.contracts import DenseHead
from det_core.errors import ConfigError, StructureError
from det_core.models import DenseNMS
from det_core.ops.masks import paste_masks
from det_core.structures import Targets
from det_tensormask.align import swap_align2nat
from det_tensormask.head import MaskWindows, Subnets, TensorMaskHead
from det_tensormask.losses import MaskLoss

CHANNELS, STRIDES = {"p2": 8, "p3": 8, "p4": 8}, {"p2": 4, "p3": 8, "p4": 16}
SIZES = [(48, 64), (40, 60)]


def head(**options):
    torch.manual_seed(0)
    given = {"masks": MaskWindows((5, 7)), "subnets": Subnets(1, 8, 8, 8)}
    return TensorMaskHead(CHANNELS, STRIDES, 2, **{**given, **options})


def features():
    random = torch.Generator().manual_seed(0)
    sizes = {"p2": (12, 16), "p3": (6, 8), "p4": (3, 4)}
    return {name: torch.randn(2, 8, *size, generator=random) for name, size in sizes.items()}


def truth(*boxes):
    masks = torch.zeros(len(boxes), 48, 64, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    labels = torch.arange(len(boxes)) % 2
    return Targets(boxes=torch.tensor(boxes).reshape(-1, 4).float(), labels=labels, masks=masks)


OBJECTS = [truth((10, 10, 22, 20), (30, 8, 58, 40)), truth((2, 2, 40, 38))]


def test_pixels_have_window_per_size_with_finer_coarse_masks():
    outputs = head()(features())
    assert isinstance(head(), DenseHead)
    counts = [12 * 16 * 2, 6 * 8 * 2, 3 * 4 * 2]
    assert [tuple(x.shape) for x in outputs.logits] == [(2, n, 2) for n in counts]
    assert [tuple(x.shape) for x in outputs.offsets] == [(2, n, 4) for n in counts]
    sides = [(outputs.anchors[level][:2, 2:] - outputs.anchors[level][:2, :2]).tolist() for level in range(3)]
    assert sides == [[[5 * s, 5 * s], [7 * s, 7 * s]] for s in (4, 8, 16)]
    assert all(
        tuple(x.shape) == (2, n * n, 12, 16) for level in outputs.masks for x, n in zip(level, (5, 7), strict=True)
    )
    found = head(nms=DenseNMS(topk_candidates=6000, score_threshold=0.0, max_detections=60, iou_threshold=1.0)).decode(
        outputs, SIZES
    )
    drawn = {
        (len(grid), round((w[2] - w[0]).item()))
        for each in found
        for grid, w in zip(each.masks.grids, each.masks.windows, strict=True)
    }
    assert drawn <= {(n * factor, n * 4 * factor) for n in (5, 7) for factor in (1, 2, 4)}


@pytest.mark.parametrize(
    "options", [{}, {"masks": MaskWindows((5, 7), bipyramid=False)}, {"masks": MaskWindows((5, 7), False, False)}]
)
def test_losses_reach_every_parameter_with_and_without_objects(options):
    for targets in (OBJECTS, [truth(), OBJECTS[0]], [truth(), truth()]):
        model = head(**options)
        losses = model.losses(model(features()), SIZES, targets)
        assert losses.keys() == {"loss_cls", "loss_box_reg", "loss_mask"}
        assert all(loss.isfinite() and loss.ndim == 0 for loss in losses.values())
        assert (losses["loss_mask"] > 0) == (losses["loss_box_reg"] > 0) == any(len(each) for each in targets)
        sum(losses.values()).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


# Between the middles (24 and 28, 24 and 28) of four windows of 20 pixels, in which it covers 2 x 2 of 5 x 5 parts.
BETWEEN = [truth((22, 22, 30, 30)), truth()]


def test_mask_loss_of_zero_logits_equals_hand_computed():
    model = head(masks=MaskWindows(windows=(5,)), mask_loss=MaskLoss(weight=2.0, positive_weight=1.5))
    outputs = model(features())
    undecided = outputs._replace(masks=[[torch.zeros_like(x) for x in level] for level in outputs.masks])
    loss = model.losses(undecided, SIZES, BETWEEN)["loss_mask"].item()
    assert loss == pytest.approx(2.0 * (4 * 1.5 + 21) / 25 * math.log(2))


def test_aligned_pixels_give_object_mask_in_all_windows():
    model = head(masks=MaskWindows(windows=(5,)))
    outputs = model(features())
    said = torch.full((2, 25, 12, 16), -9.0)
    said[0, :, 6:8, 6:8] = 9.0  # the windows' parts begin in the middle between two pixels: from 22 to 26 is pixel 6
    right = outputs._replace(masks=[[said], *outputs.masks[1:]])
    assert model.losses(right, SIZES, BETWEEN)["loss_mask"] < 0.01


def test_detections_of_a_batch_are_those_of_its_images():
    model = head(prior_probability=0.5, nms=DenseNMS(topk_candidates=6000, max_detections=12)).eval()
    given = features()
    together = model.decode(model(given), SIZES)
    for i, found in enumerate(together):
        [alone] = model.decode(model({name: x[i : i + 1] for name, x in given.items()}), SIZES[i : i + 1])
        assert len(found) == len(alone) == 12
        torch.testing.assert_close(found.boxes, alone.boxes)
        torch.testing.assert_close(found.masks.windows, alone.masks.windows)
        for a, b in zip(found.masks.grids, alone.masks.grids, strict=True):
            torch.testing.assert_close(a, b)


def test_window_masks_equal_crops_of_whole_natural_map():
    model = head(prior_probability=0.5, nms=DenseNMS(topk_candidates=6000, max_detections=12)).eval()
    outputs = model(features())
    natural = [swap_align2nat(maps[0], 2**level) for level, maps in enumerate(outputs.masks)]
    [found, _] = model.decode(outputs, SIZES)
    checked = 0
    for grid, (x0, y0, x1, _) in zip(found.masks.grids, found.masks.windows.tolist(), strict=True):
        for level, stride in enumerate((4, 8, 16)):
            if x1 - x0 == 5 * stride:
                y, x = round(y0 / stride + 2.5), round(x0 / stride + 2.5)
                torch.testing.assert_close(grid.flatten(), natural[level][0, :, y, x].sigmoid())
                checked += 1
    assert checked
    assert paste_masks(found.masks, found.boxes, found.size).shape == (12, 48, 64)


def test_predict_without_detections_gives_empty_masks():
    for found in head(nms=DenseNMS(topk_candidates=6000, score_threshold=1.0)).decode(head()(features()), SIZES):
        assert len(found) == len(found.masks) == 0


def test_box_of_two_classes_is_detected_twice_within_topk():
    found = head(prior_probability=0.5, nms=DenseNMS(topk_candidates=6000, max_detections=5)).decode(
        head(prior_probability=0.5)(features()), SIZES
    )
    assert [len(each) for each in found] == [5, 5]
    assert all((each.scores.diff() <= 0).all() for each in found)
    for each, (height, width) in zip(found, SIZES, strict=True):
        assert (each.boxes >= 0).all()
        assert (each.boxes[:, 2] <= width).all()
        assert (each.boxes[:, 3] <= height).all()


def test_wrong_arguments_are_refused_by_name():
    for options, where in (
        ({"masks": MaskWindows((5, 7), aligned=False)}, "masks.bipyramid"),
        ({"masks": MaskWindows(())}, "masks.windows"),
        ({"masks": MaskWindows((5, 5))}, "masks.windows"),
        ({"in_features": ["p2", "p4"]}, "strides"),
        ({"in_features": ["p9"]}, "in_features"),
    ):
        with pytest.raises(ConfigError, match=f"TensorMaskHead.{where}"):
            head(**options)


def test_targets_without_masks_are_refused():
    plain = Targets(boxes=OBJECTS[0].boxes, labels=OBJECTS[0].labels)
    with pytest.raises(StructureError, match="are needed to train masks"):
        head().losses(head()(features()), SIZES, [plain, truth()])
