"""Single operations give what the published ones gave."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from det_core.models import AnchorGenerator
from det_core.ops import coding, rotated
from det_core.ops.keypoints import decode_heatmaps, encode_keypoints
from det_core.ops.masks import paste_masks
from det_core.ops.roi import ROIPooler
from det_core.ops.roi_rotated import roi_align_rotated
from torch import Tensor

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


@pytest.fixture(scope="module")
def recorded(operations: Callable[[str], Path]) -> dict[str, Tensor]:
    with np.load(operations("ops.npz")) as data:
        return {key: torch.from_numpy(data[key]) for key in data.files if data[key].dtype.kind != "U"}


def test_box_offsets_agree(recorded: dict[str, Tensor]) -> None:
    offsets = coding.encode(recorded["deltas/dst"], recorded["deltas/src"], WEIGHTS)
    torch.testing.assert_close(offsets, recorded["deltas/xyxy_w10_10_5_5"])


def test_boxes_from_offsets_of_three_classes_agree(recorded: dict[str, Tensor]) -> None:
    offsets = recorded["deltas/apply_in"].reshape(12, 3, 4)
    boxes = coding.decode(offsets, recorded["deltas/src"][:, None], WEIGHTS)
    torch.testing.assert_close(boxes.reshape(12, 12), recorded["deltas/apply_out"])


def test_distances_from_the_middle_agree(recorded: dict[str, Tensor]) -> None:
    source = recorded["deltas/src"]
    sides = source[:, 2:] - source[:, :2]
    distances = coding.encode_distances(recorded["deltas/dst"], (source[:, :2] + source[:, 2:]) / 2)
    torch.testing.assert_close(distances / sides.repeat(1, 2), recorded["deltas/linear_normalized"])


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_anchors_of_two_levels_agree(recorded: dict[str, Tensor], offset: float) -> None:
    generator = AnchorGenerator({"p3": 8, "p4": 16}, sizes=[[32, 64], [128]], offset=offset)
    anchors = torch.cat(generator([torch.zeros(1, 1, 5, 7), torch.zeros(1, 1, 3, 4)]))
    torch.testing.assert_close(anchors, recorded[f"anchors/offset{offset}"])


@pytest.mark.parametrize(("pooling", "aligned"), [("ROIAlignV2", True), ("ROIAlign", False)])
def test_pooled_regions_agree(recorded: dict[str, Tensor], refpack: ModuleType, pooling: str, aligned: bool) -> None:
    features = torch.from_numpy(refpack.unit_noise("ops/x", 2 * 6 * 32 * 40)).float().reshape(2, 6, 32, 40)
    rois = recorded["roi_align/rois"]
    boxes = [rois[rois[:, 0] == image, 1:] for image in (0, 1)]
    order = torch.cat([torch.nonzero(rois[:, 0] == image).squeeze(1) for image in (0, 1)])
    pooled = ROIPooler([4], 7, pooling)([features], boxes)
    torch.testing.assert_close(pooled, recorded[f"roi_align/out_scale0.25_ratio0_7x7_aligned{aligned}"][order])


def test_pasted_masks_agree(recorded: dict[str, Tensor]) -> None:
    masks = paste_masks(recorded["paste/masks"], recorded["paste/boxes"], (120, 160))
    expected = np.unpackbits(recorded["paste/bits_120x160"].numpy()).reshape(12, 120, 160)
    assert np.array_equal(masks.numpy(), expected)


def test_keypoints_in_heatmaps_agree(recorded: dict[str, Tensor], refpack: ModuleType) -> None:
    boxes = recorded["keypoints/rois"]
    cells, valid = encode_keypoints(recorded["keypoints/gt"], boxes, 14)
    assert torch.equal(cells.flatten(), recorded["keypoints/target_index"].flatten())
    assert torch.equal(valid.flatten().long(), recorded["keypoints/target_valid"].flatten())
    heatmaps = torch.from_numpy(refpack.unit_noise("ops/hm", 6 * 4 * 14 * 14)).float().reshape(6, 4, 14, 14)
    torch.testing.assert_close(decode_heatmaps(heatmaps, boxes), recorded["keypoints/decoded"])


def test_overlaps_of_rotated_boxes_agree(recorded: dict[str, Tensor]) -> None:
    boxes = recorded["rotated/boxes"]
    torch.testing.assert_close(rotated.iou(boxes, boxes), recorded["rotated/iou"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7])
def test_suppression_of_rotated_boxes_agrees(recorded: dict[str, Tensor], threshold: float) -> None:
    boxes, scores = recorded["rotated/boxes"], recorded["rotated/scores"]
    kept = rotated.nms_by_group(boxes, scores, torch.zeros(len(boxes), dtype=torch.int64), threshold)
    assert kept.tolist() == recorded[f"rotated/nms_{threshold}"].tolist()


def test_suppression_of_rotated_boxes_by_group_agrees(recorded: dict[str, Tensor]) -> None:
    kept = rotated.nms_by_group(recorded["rotated/boxes"], recorded["rotated/scores"], recorded["rotated/groups"], 0.5)
    assert kept.tolist() == recorded["rotated/batched_nms_0.5"].tolist()


def test_offsets_of_rotated_boxes_agree(recorded: dict[str, Tensor]) -> None:
    boxes, weights = recorded["rotated/boxes"], (*WEIGHTS, 1.0)
    torch.testing.assert_close(
        rotated.encode(recorded["deltas/rotated_dst"], boxes, weights), recorded["deltas/rotated"]
    )
    torch.testing.assert_close(
        rotated.decode(recorded["deltas/rotated"], boxes, weights), recorded["deltas/rotated_applied"]
    )


@pytest.mark.parametrize("ratio", [0, 2])
def test_pooled_rotated_regions_agree(recorded: dict[str, Tensor], refpack: ModuleType, ratio: int) -> None:
    features = torch.from_numpy(refpack.unit_noise("ops/x", 2 * 6 * 32 * 40)).float().reshape(2, 6, 32, 40)
    pooled = roi_align_rotated(features, recorded["roi_align_rotated/rois"], (7, 5), 0.25, ratio)
    expected = recorded[f"roi_align_rotated/out_scale0.25_ratio{ratio}_7x5"]
    torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=2e-5)


def test_rotated_anchors_of_two_levels_agree(recorded: dict[str, Tensor]) -> None:
    generator = AnchorGenerator(
        {"p3": 8, "p4": 16}, sizes=[[32], [64]], aspect_ratios=[[0.5, 2.0]], angles=[[-45, 0, 45]]
    )
    anchors = torch.cat(generator([torch.zeros(1, 1, 5, 7), torch.zeros(1, 1, 3, 4)]))
    torch.testing.assert_close(anchors, recorded["anchors/rotated"])


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_masks_from_aligned_to_natural_agree(recorded: dict[str, Tensor], refpack: ModuleType, factor: int) -> None:
    align = pytest.importorskip("det_tensormask.align")
    masks = torch.from_numpy(refpack.unit_noise("ops/sa", 9 * 12 * 10)).float().reshape(1, 9, 12, 10)
    torch.testing.assert_close(align.swap_align2nat(masks, factor), recorded[f"swap_align2nat/lambda{factor}_pad-6"])
