"""Test-time augmentation of DensePose models: several sizes of an image, flipped and rotated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from det_core.errors import ConfigError, StructureError
from det_core.ops import boxes as box_ops
from det_core.ops.nms import nms_by_group
from det_core.structures import Detections, ImageBatch, Prediction, Size, Targets
from torch import Tensor, nn
from torch.nn import functional as F

from det_densepose.data.mirror import BodySymmetry
from det_densepose.results.access import raw_fields
from det_densepose.results.mirroring import mirror_raw
from det_densepose.results.rotation import Rotation, undo_rotation
from det_densepose.structures import PREFIX

__all__ = ["AugmentedDensePose", "rotated_image"]

_AVERAGED = ("coarse_segm", "fine_segm", "u", "v", "embedding")


@dataclass(frozen=True)
class _View:
    """One view of an image: resized, then flipped or not, then rotated or not."""

    stored: Size
    size: Size
    mirrored: bool
    angle: float

    @property
    def rotation(self) -> Rotation | None:
        return Rotation(self.size, self.angle) if self.angle else None

    def batch(self, image: Tensor) -> ImageBatch:
        pixels = image[None].float()
        if self.size != self.stored:
            pixels = F.interpolate(pixels, self.size, mode="bilinear", antialias=True).clamp(0, 255)
        if self.mirrored:
            pixels = pixels.flip(3)
        if self.rotation is not None:
            pixels = rotated_image(pixels[0], self.rotation)[None]
        # Whole numbers, as images are.
        return ImageBatch(pixels=pixels.to(torch.uint8).float(), sizes=(cast(Size, tuple(pixels.shape[2:])),))

    def _scale(self, boxes: Tensor) -> Tensor:
        down, across = (view / stored for view, stored in zip(self.size, self.stored, strict=True))
        return boxes.new_tensor([across, down, across, down])

    def into(self, boxes: Tensor) -> Tensor:
        """Boxes of the image in the view; of a turned one, the hulls."""
        resized = boxes * self._scale(boxes)
        resized = _mirrored(resized, self.size[1]) if self.mirrored else resized
        return resized if self.rotation is None else _hulls(resized, self.rotation)

    def back(self, boxes: Tensor) -> Tensor:
        """Boxes of a view that is not turned, in the image."""
        resized = _mirrored(boxes, self.size[1]) if self.mirrored else boxes
        return box_ops.clip(resized / self._scale(boxes), self.stored)


def _mirrored(boxes: Tensor, width: int) -> Tensor:
    x0, y0, x1, y1 = boxes.unbind(dim=1)
    return torch.stack((width - x1, y0, width - x0, y1), dim=1)


def _hulls(boxes: Tensor, rotation: Rotation) -> Tensor:
    matrix = torch.from_numpy(rotation.corner_matrix).to(boxes)
    points = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) @ matrix[:, :2].T + matrix[:, 2]
    return box_ops.clip(torch.cat((points.amin(1), points.amax(1)), 1), rotation.bounds)


def rotated_image(image: Tensor, rotation: Rotation) -> Tensor:
    """An image (C, H, W) turned, (C, *rotation.bounds), bilinear; black where nothing was."""
    height, width = rotation.bounds
    turn, shift = rotation.matrix[:, :2], rotation.matrix[:, 2]
    ys, xs = np.mgrid[:height, :width]
    source = (np.stack((xs, ys), -1) - shift) @ turn  # the inverse of a turn is its transpose
    sides = np.array([image.shape[2], image.shape[1]])
    grid = torch.from_numpy((2 * source + 1) / sides - 1).to(image)
    return F.grid_sample(image[None], grid[None], mode="bilinear", align_corners=False)[0]


class AugmentedDensePose(nn.Module):
    """A DensePose model that merges its predictions for several views of each image.

    Boxes of all views that are not rotated go through NMS together. DensePose is then predicted for the remaining
    boxes in each view; its raw outputs are rotated and flipped back, and averaged. Confidences are those of the
    first view.

    Args:
        model: two-stage detector whose RoI heads include DensePose.
        sizes: lengths of the shorter side in pixels, one view for each.
        max_size: maximum length of the longer side in pixels.
        flip: whether to add the horizontal flip of each view. Embeddings cannot be flipped back, so for embedding
            models flipped views only contribute boxes.
        angles: rotations that are added to each view, in degrees counter-clockwise; not 45.
        bodies: folder of bodies, for the symmetry of charts.
        body: name of the body on whose charts the model was trained.
        nms_threshold: IoU above which the detection with the lower score is dropped, within each class.
        max_detections: maximum number of detections per image.

    Raises:
        ConfigError: an angle cannot be undone, there is no size, or the model does not predict at given boxes.
    """

    def __init__(
        self,
        model: nn.Module,
        sizes: Sequence[int] = (400, 500, 600, 700, 800, 900, 1000, 1100, 1200),
        max_size: int = 4000,
        flip: bool = True,
        angles: Sequence[float] = (),
        bodies: Path | None = None,
        body: str = "smpl_27554",
        nms_threshold: float = 0.5,
        max_detections: int = 100,
    ) -> None:
        super().__init__()
        if not sizes or min(sizes) < 1:
            raise ConfigError("AugmentedDensePose.sizes", "must name at least one side", f"got {list(sizes)}")
        if not hasattr(model, "predict_given_boxes"):
            fix = "wrap a two-stage model, such as that of `Detector.load(...).model`"
            raise ConfigError("AugmentedDensePose.model", "must have predict_given_boxes", type(model).__name__, fix)
        for angle in angles:
            Rotation((1, 1), angle)  # refuses an angle that cannot be undone
        self.model, self.num_classes = model, model.num_classes
        self.sizes, self.max_size, self.flip = tuple(sizes), max_size, flip
        self.angles = (0.0, *(float(angle) for angle in angles if angle))
        self.nms_threshold, self.max_detections = nms_threshold, max_detections
        self._symmetry = BodySymmetry(bodies, body)

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`: the losses of the model on the given images. Without: the merged predictions."""
        if targets is not None:
            losses: dict[str, Tensor] = self.model(batch, targets)
            return losses
        if batch.proposals is not None:
            raise StructureError("ImageBatch.proposals", "cannot be followed through the views")
        return [self._image(pixels[:, :h, :w]) for pixels, (h, w) in zip(batch.pixels, batch.sizes, strict=True)]

    def _image(self, image: Tensor) -> Prediction:
        stored = (image.shape[1], image.shape[2])
        views = [
            _View(stored, size, mirrored, angle)
            for size in self._sizes(stored)
            for mirrored in ((False, True) if self.flip else (False,))
            for angle in self.angles
        ]
        straight = [view for view in views if not view.angle]
        view_detections = [self._predict_view(view, image) for view in straight]
        boxes = torch.cat([view.back(each.boxes) for view, each in zip(straight, view_detections, strict=True)])
        labels, scores = (
            torch.cat([each.labels for each in view_detections]),
            torch.cat([each.scores for each in view_detections]),
        )
        keep = nms_by_group(boxes, scores, labels, self.nms_threshold)[: self.max_detections]
        merged = Detections(boxes=boxes[keep], labels=labels[keep], scores=scores[keep], size=stored)
        return Prediction(detections=self._describe(merged, views, image) if len(merged) else merged)

    def _sizes(self, stored: Size) -> list[Size]:
        sizes = []
        for size in self.sizes:
            scale = min(size / min(stored), self.max_size / max(stored))
            sizes.append((max(int(stored[0] * scale + 0.5), 1), max(int(stored[1] * scale + 0.5), 1)))
        return sizes

    def _predict_view(self, view: _View, image: Tensor) -> Detections:
        [prediction] = cast(list[Prediction], self.model(view.batch(image)))
        if prediction.detections is None:
            raise ConfigError("AugmentedDensePose.model", "must detect objects", f"got {type(self.model).__name__}")
        if prediction.detections.masks is not None or prediction.detections.keypoints is not None:
            problem = "has masks or keypoints beside DensePose, which are not put together"
            raise ConfigError("AugmentedDensePose.model", problem, fix="predict without --tta")
        return prediction.detections

    def _describe(self, merged: Detections, views: Sequence[_View], image: Tensor) -> Detections:
        """The detections with raw outputs averaged over the views."""
        total: dict[str, Any] = {}
        first: dict[str, Any] = {}
        embeds, used = False, 0
        for view in views:
            if embeds and view.mirrored:
                continue
            batch = view.batch(image)
            view_detections = replace(merged, boxes=view.into(merged.boxes), size=batch.sizes[0])
            outputs = raw_fields(cast(Any, self.model).predict_given_boxes(batch, [view_detections])[0])
            first, embeds, used = first or dict(outputs), "embedding" in outputs, used + 1
            if embeds and view.angle:
                problem = "embeddings of a turned image cannot be compared with others"
                raise ConfigError("AugmentedDensePose.angles", problem, fix="give no angles")
            fields = {name: value.as_subclass(Tensor) for name, value in outputs.items() if name in _AVERAGED}
            if view.rotation is not None:
                fields = {
                    name: undo_rotation(value, view_detections.boxes, view.rotation) for name, value in fields.items()
                }
            if view.mirrored:
                fields = mirror_raw(fields, self._symmetry.tables())
            total = {name: total[name] + value if total else value for name, value in fields.items()}
        for name, value in total.items():
            mean = (value / used).as_subclass(type(first[name]))
            mean.__dict__.update(first[name].__dict__)
            first[name] = mean
        return replace(merged, extras={f"{PREFIX}{name}": value for name, value in first.items()})
