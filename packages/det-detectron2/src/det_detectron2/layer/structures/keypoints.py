"""Keypoints, as `detectron2.structures.keypoints`."""

from typing import Any

import torch
from det_core.ops.keypoints import decode_heatmaps, encode_keypoints
from torch import Tensor

__all__ = ["Keypoints", "heatmaps_to_keypoints"]


class Keypoints:
    """Keypoints of objects: x, y and visibility (0 not labelled, 1 hidden, 2 visible).

    Attributes:
        tensor: float32 (N, K, 3).
    """

    def __init__(self, keypoints: Any) -> None:
        device = keypoints.device if isinstance(keypoints, Tensor) else torch.device("cpu")
        values = torch.as_tensor(keypoints, dtype=torch.float32, device=device)
        assert values.shape == (*values.shape[:2], 3), values.shape
        self.tensor = values

    def __len__(self) -> int:
        return self.tensor.size(0)

    def to(self, *args: Any, **kwargs: Any) -> "Keypoints":
        """The keypoints on another device."""
        return type(self)(self.tensor.to(*args, **kwargs))

    @property
    def device(self) -> torch.device:
        """Where the tensor is."""
        return self.tensor.device

    def to_heatmap(self, boxes: Tensor, heatmap_size: int) -> tuple[Tensor, Tensor]:
        """The cell of each keypoint in a square heat map of its box, and whether it lies in it and is labelled.

        Args:
            boxes: (N, 4).
            heatmap_size: side of the heatmap in cells.

        Returns:
            int64 (N, K), row * side + column, and bool (N, K).
        """
        return encode_keypoints(self.tensor, boxes, heatmap_size)

    def __getitem__(self, item: Any) -> "Keypoints":
        return Keypoints([self.tensor[item]]) if isinstance(item, int) else Keypoints(self.tensor[item])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_instances={len(self.tensor)})"

    @staticmethod
    def cat(keypoints_list: "list[Keypoints]") -> "Keypoints":
        """All of several, in order."""
        assert keypoints_list
        assert all(isinstance(each, Keypoints) for each in keypoints_list)
        return type(keypoints_list[0])(torch.cat([each.tensor for each in keypoints_list], dim=0))


@torch.no_grad()
def heatmaps_to_keypoints(maps: Tensor, rois: Tensor) -> Tensor:
    """The maxima of heat maps (N, K, S, S) of boxes (N, 4): (N, K, 4), x, y, logit and score."""
    return decode_heatmaps(maps, rois)
