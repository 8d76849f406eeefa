"""Postprocessing of an exported program in NumPy: keypoints from heatmaps, and masks pasted into the image.

Programs that read det's files elsewhere may copy this module; it imports nothing of det.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["keypoints", "masks", "paste"]

Floats = NDArray[np.float32]


def keypoints(heatmaps: Floats, boxes: Floats) -> Floats:
    """Decode heatmaps into the position and score of each keypoint.

    Each heatmap is enlarged to the size of its box in whole pixels, by bicubic interpolation, and its highest pixel
    taken. The score is the probability of that pixel in a softmax over the cells of the heatmap.

    Args:
        heatmaps: float32 (N, K, S, S), logits, the output `detections.det-core/keypoint_heatmaps`.
        boxes: float32 (N, 4), x0, y0, x1, y1 in pixels.

    Returns:
        float32 (N, K, 3): x, y, score.
    """
    points = np.zeros((*heatmaps.shape[:2], 3), np.float32)
    for row, maps, (x0, y0, x1, y1) in zip(points, heatmaps, boxes.astype(np.float32), strict=True):
        width, height = np.maximum(x1 - x0, np.float32(1)), np.maximum(y1 - y0, np.float32(1))
        rows, columns = int(np.ceil(height)), int(np.ceil(width))
        down, across = _bicubic(maps.shape[1], rows), _bicubic(maps.shape[2], columns)
        enlarged = (down @ maps.astype(np.float64) @ across.T).reshape(len(maps), -1)
        place, best = enlarged.argmax(1), enlarged.max(1)
        row[:, 0] = (place % columns + 0.5) * (width / columns) + x0
        row[:, 1] = (place // columns + 0.5) * (height / rows) + y0
        row[:, 2] = 1 / np.exp(maps.reshape(len(maps), -1) - best[:, None]).sum(1)
    return points


def _bicubic(length: int, target: int) -> NDArray[np.float64]:
    """The weights of cubic convolution (Keys, 1981; a = -0.75), (target, length); cells beyond the ends repeat them."""
    place = (np.arange(target) + 0.5) * (length / target) - 0.5
    low = np.floor(place).astype(int)
    weights = np.zeros((target, length))
    for step in range(-1, 3):
        away = np.abs(place - (low + step))
        near = (1.25 * away - 2.25) * away**2 + 1
        far = -0.75 * (((away - 5) * away + 8) * away - 4)
        np.add.at(weights, (np.arange(target), (low + step).clip(0, length - 1)), np.where(away <= 1, near, far))
    return weights


def paste(mask: Floats, box: Any, size: tuple[int, int], threshold: float = 0.5) -> NDArray[np.bool_]:
    """Paste one mask into its image, bool (height, width): True where its probability reaches the threshold.

    Values between the centers of cells are interpolated, and fall to 0 from the outermost centers outwards.

    Args:
        mask: float32 (S, S), probabilities within the box.
        box: (4,): x0, y0, x1, y1 in pixels.
        size: (height, width) of the image in pixels.
        threshold: minimum probability of the mask, in (0, 1].
    """
    canvas = np.zeros(size, np.bool_)
    x0, y0, x1, y1 = (float(value) for value in box)
    left, right = max(int(np.floor(x0)) - 1, 0), min(int(np.ceil(x1)) + 1, size[1])
    top, bottom = max(int(np.floor(y0)) - 1, 0), min(int(np.ceil(y1)) + 1, size[0])
    if x0 < x1 and y0 < y1 and left < right and top < bottom:
        down = _bilinear(mask.shape[0], (np.arange(top, bottom) + 0.5 - y0) / (y1 - y0))
        across = _bilinear(mask.shape[1], (np.arange(left, right) + 0.5 - x0) / (x1 - x0))
        canvas[top:bottom, left:right] = down @ mask.astype(np.float32) @ across.T >= threshold
    return canvas


def _bilinear(length: int, share: NDArray[np.floating[Any]]) -> Floats:
    """The weights of the cells at shares of the box, (places, length); what lies beyond the cells counts 0."""
    place = share * length - 0.5
    cells = np.arange(length)
    return np.maximum(1 - np.abs(place[:, None] - cells), 0).astype(np.float32)


def masks(
    probabilities: Floats, boxes: Floats, size: tuple[int, int], threshold: float = 0.5
) -> Iterator[NDArray[np.bool_]]:
    """The masks (N, S, S) of objects in the picture, bool (height, width), one after another, see `paste`.

    One at a time: those of a hundred objects on a picture of 4000 x 3000 pixels would be more than a gigabyte.
    """
    for mask, box in zip(probabilities, boxes, strict=True):
        yield paste(mask, box, size, threshold)
