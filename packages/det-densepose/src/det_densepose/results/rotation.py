"""Raw outputs of a rotated image, as if the image had not been rotated."""

from dataclasses import dataclass

import numpy as np
import torch
from det_core.errors import ConfigError
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Rotation", "undo_rotation"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rotation:
    """An image of `size` (height, width) turned by `angle` degrees, counter-clockwise, and enlarged to show all.

    Raises:
        ConfigError: the angle is 45 degrees or another from which boxes cannot be undone.
    """

    size: tuple[int, int]
    angle: float

    def __post_init__(self) -> None:
        if abs(1 - 2 * self._sin**2) < 1e-9:
            found = f"got {self.angle:g}"
            raise ConfigError("angle", "boxes of an image turned by 45 degrees cannot be turned back", found)

    @property
    def _cos(self) -> float:
        return abs(float(np.cos(np.radians(self.angle))))

    @property
    def _sin(self) -> float:
        return abs(float(np.sin(np.radians(self.angle))))

    @property
    def bounds(self) -> tuple[int, int]:
        """Height and width of the turned image, rounded."""
        height, width = self.size
        across, down = width * self._cos + height * self._sin, height * self._cos + width * self._sin
        return int(np.rint(down)), int(np.rint(across))

    @property
    def matrix(self) -> Array:
        """Where a pixel of the image is in the turned one, (2, 3); both counted from the middle of the first pixel."""
        return self._matrix(-0.5)

    @property
    def corner_matrix(self) -> Array:
        """Where a point of the image is in the turned one, (2, 3); both in continuous pixels."""
        return self._matrix(0)

    def _matrix(self, offset: float) -> Array:
        """The middle of the image goes to the middle of the turned one; `offset` is where counting begins."""
        cos, sin = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        turn = np.array([[cos, sin], [-sin, cos]])
        middle, target = (np.array(size[::-1]) / 2 + offset for size in (self.size, self.bounds))
        return np.concatenate([turn, (target - turn @ middle)[:, None]], 1)

    def boxes_before(self, boxes: Array) -> Array:
        """Boxes (N, 4) of the turned image in the image: around the middle of their hull, as large as they were.

        The way back is a turn by the opposite angle, which enlarges once more, and a crop by whole pixels.
        """
        boxes = np.asarray(boxes, np.float64)
        back = Rotation(self.bounds, -self.angle)
        matrix = back._matrix(0)
        cut = (np.array(back.bounds) - self.size) // 2
        corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
        points = corners @ matrix[:, :2].T + matrix[:, 2] - cut[::-1]
        middle = (points.min(1) + points.max(1)) / 2
        width, height = (boxes[:, 2:] - boxes[:, :2]).T
        scale = 1 - 2 * self._sin**2
        size = np.stack(
            ((width * self._cos - height * self._sin) / scale, (height * self._cos - width * self._sin) / scale), 1
        )
        return np.concatenate([middle - size / 2, middle + size / 2], 1)


def undo_rotation(values: Tensor, boxes: Tensor, rotation: Rotation) -> Tensor:
    """Fields (N, C, Z, Z) over boxes (N, 4) of a turned image, over the boxes before it was turned."""
    if not len(values):
        return values
    side = values.shape[-1]
    whole = boxes.detach().cpu().numpy().astype(np.int64)
    before = rotation.boxes_before(whole.astype(np.float64)).astype(np.int64)
    turn = torch.tensor(rotation.matrix, dtype=values.dtype, device=values.device)[None]
    turn[:, :, 2] = 0
    regions = []
    for value, box, target in zip(values, whole, before, strict=True):
        width, height = (max(int(n), 1) for n in box[2:] - box[:2])
        grown = (target[2:] - target[:2] - (box[2:] - box[:2])) // 2
        region = F.interpolate(value[None], (height, width), mode="bilinear")
        across, down = int(grown[0]), int(grown[1])
        region = F.pad(region, (max(across, 0),) * 2 + (max(down, 0),) * 2)
        grid = F.affine_grid(turn, list(region.shape), align_corners=False)
        region = F.grid_sample(region, grid, align_corners=False)
        top, left = max(-down, 0), max(-across, 0)
        region = region[:, :, top : region.shape[2] - top, left : region.shape[3] - left]
        if not region.numel():
            region = value.new_zeros(1, value.shape[0], 1, 1)
        region = F.interpolate(region, (side, side), mode="bilinear")
        region[:, 0] += 1e-10
        regions.append(region[0])
    return torch.stack(regions)
