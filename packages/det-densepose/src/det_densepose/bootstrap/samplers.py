"""Points sampled from predictions, which serve as annotations in training (Sanakoyeu et al., 2020)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from det_core.errors import ConfigError
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from det_densepose.bodies.symmetry import COARSE_OF_PART
from det_densepose.results.conversion import ChartResult, VertexResult, chart_result, foreground
from det_densepose.structures import NUM_COARSE_PARTS

__all__ = ["PointSampler", "coarse_labels", "coarse_masks", "sampled_points"]

_GRID = 256
# Whether the surest pixels have the smallest values.
_RISING = {"sigma_2": True, "fine_segm_confidence": False, "coarse_segm_confidence": False}

Kind = Literal["uniform", "sigma_2", "fine_segm_confidence", "coarse_segm_confidence"]


@dataclass(frozen=True)
class PointSampler:
    """Samples pixels of a prediction: from each part, or from the whole object if the model predicts vertices.

    Args:
        kind: "uniform" samples from all pixels; the others from the most confident ones, with the lowest variance
            `sigma_2` or the highest confidence of a segmentation.
        count: number of points per part, or per object.
        share: fraction of the pixels, the most confident ones, that points are sampled from; at least `count` pixels.
        multiplier: sample from `multiplier * count` pixels instead of a fraction; None for `share`.
        published_order: whether to use the lowest instead of the highest segmentation confidences of charts, as the
            published code does.

    Raises:
        ConfigError: a value is out of its range.
    """

    kind: Kind = "uniform"
    count: int = 8
    share: float = 0.5
    multiplier: float | None = None
    published_order: bool = False

    def __post_init__(self) -> None:
        if self.kind != "uniform" and self.kind not in _RISING:
            raise ConfigError("kind", f"must be one of {', '.join(('uniform', *_RISING))}", f"got {self.kind!r}")
        if self.count < 1 or not 0 < self.share <= 1 or (self.multiplier is not None and self.multiplier < 1):
            found = f"got {self.count}, {self.share} and {self.multiplier}"
            raise ConfigError("count", "must be at least 1, share in (0, 1], multiplier at least 1", found)

    def candidates(self, result: ChartResult | VertexResult) -> dict[int, NDArray[np.int64]]:
        """Of each part the pixels (P, 2), rows and columns, that are drawn from; of vertices all under part 0."""
        if isinstance(result, VertexResult):
            pixels = np.argwhere(result.mask)
            return {0: pixels[self._surest(pixels, result.confidences, rising=False)]} if len(pixels) else {}
        pixels_of_part = {}
        for part in np.unique(result.labels[result.labels > 0]).tolist():
            pixels = np.argwhere(result.labels == part)
            rising = _RISING.get(self.kind, True) or self.published_order
            pixels_of_part[part] = pixels[self._surest(pixels, result.confidences, rising)]
        return pixels_of_part

    def _surest(
        self, pixels: NDArray[np.int64], confidences: Mapping[str, NDArray[np.float32]], rising: bool
    ) -> NDArray[np.int64]:
        if self.kind == "uniform":
            return np.arange(len(pixels))
        if self.kind not in confidences:
            found = f"it gives {', '.join(confidences) or 'none'}"
            fix = "use the uniform sampler, or a model with confidences such as densepose_rcnn_r50_fpn_wc1_s1x"
            raise ConfigError("kind", f"the model does not predict {self.kind}", found, fix)
        values = confidences[self.kind][pixels[:, 0], pixels[:, 1]]
        # torch's own sorting, whose order of equals is that of the published samplers.
        order = torch.from_numpy(values if rising else -values).sort()[1].numpy()
        count = min(self.count, len(pixels))
        total = int(self.multiplier * count) if self.multiplier is not None else int(len(pixels) * self.share)
        return order[: min(max(total, count), len(pixels))]

    def draw(self, result: ChartResult | VertexResult, random: np.random.Generator) -> dict[int, NDArray[np.int64]]:
        """Of each part at most `count` of the candidates, in the order of the image."""
        return {
            part: pixels[np.sort(random.permutation(len(pixels))[: self.count])]
            for part, pixels in self.candidates(result).items()
        }


def sampled_points(result: ChartResult | VertexResult, pixels: Mapping[int, NDArray[np.int64]]) -> dict[str, Any]:
    """`dp_x`, `dp_y` and labels of pixels, as an annotation of the object's box has them."""
    places = np.concatenate([np.zeros((0, 2), np.int64), *pixels.values()])
    _, _, width, height = result.box
    ys, xs = places.T
    fields: dict[str, Any] = {
        "dp_x": ((xs + 0.5) / width * _GRID).tolist(),
        "dp_y": ((ys + 0.5) / height * _GRID).tolist(),
    }
    if isinstance(result, VertexResult):
        return {**fields, "dp_vertex": result.vertices[ys, xs].tolist(), "ref_model": result.mesh}
    u, v = np.clip(result.uv[:, ys, xs], 0, 1)
    return {**fields, "dp_I": result.labels[ys, xs].tolist(), "dp_U": u.tolist(), "dp_V": v.tolist()}


def coarse_labels(fields: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Coarse parts on the grid of the box, uint8 (256, 256), of the raw outputs (C, Z, Z) of a region.

    Of charts by the best fine part, where the object is; of embeddings 1 where it is.
    """
    if "fine_segm" not in fields:
        return foreground(np.asarray(fields["coarse_segm"], np.float32), (_GRID, _GRID)).astype(np.uint8)
    labels = chart_result(fields, (0, 0, _GRID, _GRID)).labels
    return np.array(COARSE_OF_PART, np.uint8)[labels]


def coarse_masks(labels: NDArray[np.uint8], encode: Callable[..., Any] = coco_mask.encode) -> list[Any]:
    """`dp_masks` of coarse parts (256, 256): an RLE for each, [] for those that are not there."""
    rles: list[Any] = []
    for part in range(1, NUM_COARSE_PARTS + 1):
        mask = labels == part
        if not mask.any():
            rles.append([])
            continue
        rle = encode(np.asfortranarray(mask.astype(np.uint8)))
        rles.append({"size": list(rle["size"]), "counts": rle["counts"].decode()})
    return rles
