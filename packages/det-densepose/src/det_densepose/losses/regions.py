"""The regions that a head learns from, with the ground truth of all images in one place."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from det_core.structures import Targets
from torch import Tensor
from torch.nn import functional as F

from det_densepose.structures import COARSE, FRAME, MESH, POINTS, SURFACE, has_coarse_parts

__all__ = ["Regions"]


@dataclass(frozen=True)
class Regions:
    """Regions of all images, one after another, and the object that each of them stands for, row for row.

    Attributes:
        proposals: the boxes of each image's regions, float32 (R_i, 4).
        targets: the objects of each image's regions, R_i each.
    """

    proposals: Sequence[Tensor]
    targets: Sequence[Targets]

    def __len__(self) -> int:
        return sum(len(boxes) for boxes in self.proposals)

    @cached_property
    def boxes(self) -> Tensor:
        """The boxes of the regions, float32 (R, 4)."""
        return torch.cat(list(self.proposals))

    @cached_property
    def points(self) -> Tensor:
        """Where the points are in the image, float32 (R, P, 2)."""
        return self._padded(POINTS, 2, 0.0)

    @cached_property
    def surface(self) -> Tensor:
        """Part, u, v and vertex at the points, float32 (R, P, 4); part and vertex are -1 where not annotated."""
        padded = self._padded(SURFACE, 4, -1.0)
        return torch.cat((padded[..., :1], padded[..., 1:3].clamp(min=0), padded[..., 3:]), -1)

    @cached_property
    def mesh(self) -> Tensor:
        """`mesh_id` of the mesh of each region, int64 (R,), or -1."""
        slots = [
            targets.extras[MESH] if MESH in targets.extras else targets.labels.new_full((len(targets),), -1)
            for targets in self.targets
        ]
        return torch.cat(slots)

    @cached_property
    def with_coarse(self) -> Tensor:
        """Which regions have coarse parts, bool (R,)."""
        return torch.cat([has_coarse_parts(targets) for targets in self.targets])

    def coarse(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The coarse parts, uint8 (K, 256, 256), and frames, float32 (K, 3, 2), of regions `rows`, int64 (K,).

        All of these must have coarse parts.
        """
        maps, frames = [], []
        for targets, image_rows in zip(self.targets, self._per_image(rows), strict=True):
            if len(image_rows):
                maps.append(targets.extras[COARSE].as_subclass(Tensor)[image_rows])
                frames.append(targets.extras[FRAME].as_subclass(Tensor)[image_rows])
        return torch.cat(maps), torch.cat(frames).to(self.boxes)

    def _per_image(self, rows: Tensor) -> list[Tensor]:
        """Rows of all images, ascending, as rows of each image."""
        start, split = 0, []
        for boxes in self.proposals:
            split.append(rows[(rows >= start) & (rows < start + len(boxes))] - start)
            start += len(boxes)
        return split

    def _padded(self, key: str, width: int, fill: float) -> Tensor:
        most = max((t.extras[key].shape[1] for t in self.targets if key in t.extras), default=0)
        rows = []
        for targets in self.targets:
            if key in targets.extras:
                value = targets.extras[key].as_subclass(Tensor).to(self.boxes)
                rows.append(F.pad(value, (0, 0, 0, most - value.shape[1]), value=fill))
            else:
                rows.append(self.boxes.new_full((len(targets), most, width), fill))
        return torch.cat(rows)
