"""What follows a program, in NumPy alone, is what the models do."""

import tracemalloc

import numpy as np
import torch
from det_core.ops.keypoints import decode_heatmaps
from det_core.ops.masks import paste_masks
from det_export import numpy_postprocess


def test_keypoints_as_decode_heatmaps():
    random = torch.Generator().manual_seed(0)
    heatmaps = torch.randn(6, 5, 14, 14, generator=random) * 3
    start = torch.rand(6, 2, generator=random) * 50
    boxes = torch.cat((start, start + torch.rand(6, 2, generator=random) * 90), dim=1)
    boxes[0, 2:] = boxes[0, :2]  # of no size
    expected = decode_heatmaps(heatmaps, boxes)[..., [0, 1, 3]]
    found = numpy_postprocess.keypoints(heatmaps.numpy(), boxes.numpy())
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-4, rtol=1e-4)


def test_keypoints_of_no_box_are_none():
    assert numpy_postprocess.keypoints(np.zeros((0, 5, 8, 8), np.float32), np.zeros((0, 4), np.float32)).shape == (
        0,
        5,
        3,
    )


def test_masks_as_paste_masks():
    random = torch.Generator().manual_seed(0)
    masks = torch.rand(8, 28, 28, generator=random)
    start = torch.rand(8, 2, generator=random) * 100 - 20
    boxes = torch.cat((start, start + torch.rand(8, 2, generator=random) * 90 + 1), dim=1)
    expected = paste_masks(masks, boxes, (100, 120)).numpy()
    found = np.stack(list(numpy_postprocess.masks(masks.numpy(), boxes.numpy(), (100, 120))))
    assert (found != expected).mean() < 1e-5
    assert expected.any(axis=(1, 2)).sum() > 5


def test_masks_of_hundred_objects_on_large_image_memory_bounded():
    masks = np.full((100, 28, 28), 0.7, np.float32)
    boxes = np.tile(np.array([[100.0, 100.0, 900.0, 700.0]], np.float32), (100, 1))
    tracemalloc.start()
    total = sum(int(mask.sum()) for mask in numpy_postprocess.masks(masks, boxes, (3000, 4000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 100 * int(numpy_postprocess.paste(masks[0], boxes[0], (3000, 4000)).sum()) > 100 * 450_000
    assert peak < 2e8
