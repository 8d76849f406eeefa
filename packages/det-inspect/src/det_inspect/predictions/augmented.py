"""Test-time augmentation: predictions of several sizes of an image, and of their mirror images, merged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from det_core.contracts import GivenBoxes, HasNMS
from det_core.errors import ConfigError, StructureError
from det_core.models import NMS
from det_core.ops import boxes as box_ops
from det_core.ops.nms import nms_by_group
from det_core.structures import Detections, ImageBatch, MaskGrids, Prediction, Size, Targets
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["AugmentedDetector"]


_PERSON_PAIRS = tuple((left, left + 1) for left in range(1, 17, 2))  # eyes, ears, shoulders ... of COCO's 17 keypoints


@dataclass(frozen=True)
class _View:
    """One view of an image: its size, and whether it is flipped."""

    stored: Size
    size: Size
    mirrored: bool

    def of(self, image: Tensor) -> ImageBatch:
        pixels = image[None].float()
        if self.size != self.stored:
            pixels = F.interpolate(pixels, self.size, mode="bilinear", antialias=True).clamp(0, 255)
        return ImageBatch(pixels=pixels.flip(3) if self.mirrored else pixels, sizes=(self.size,))

    def _scale(self, boxes: Tensor) -> Tensor:
        down, across = (resized / stored for resized, stored in zip(self.size, self.stored, strict=True))
        return boxes.new_tensor([across, down, across, down])

    def into(self, boxes: Tensor) -> Tensor:
        """Boxes of the image, in the pixels of the view."""
        return _mirrored(boxes * self._scale(boxes), self.size[1]) if self.mirrored else boxes * self._scale(boxes)

    def back(self, boxes: Tensor) -> Tensor:
        """Boxes of the view, in the pixels of the image."""
        view_boxes = _mirrored(boxes, self.size[1]) if self.mirrored else boxes
        return box_ops.clip(view_boxes / self._scale(boxes), self.stored)

    def grids_back(self, masks: MaskGrids) -> MaskGrids:
        """Masks of the view, in the pixels of the image."""
        windows = _mirrored(masks.windows, self.size[1]) if self.mirrored else masks.windows
        grids = tuple(grid.flip(1) for grid in masks.grids) if self.mirrored else masks.grids
        return MaskGrids(grids=grids, windows=windows / self._scale(windows))

    def points_back(self, keypoints: Tensor, order: Tensor) -> Tensor:
        """Keypoints of the view, in the pixels of the image; `order` is that of a mirrored object."""
        x, y, score = keypoints.unbind(dim=2)
        x = self.size[1] - x if self.mirrored else x
        rescaled = torch.stack((x * (self.stored[1] / self.size[1]), y * (self.stored[0] / self.size[0]), score), dim=2)
        return rescaled[:, order] if self.mirrored else rescaled


def _mirrored(boxes: Tensor, width: int) -> Tensor:
    x0, y0, x1, y1 = boxes.unbind(dim=1)
    return torch.stack((width - x1, y0, width - x0, y1), dim=1)


class AugmentedDetector(nn.Module):
    """A detector that merges the predictions of several views of each image.

    Boxes of all views are merged by NMS per class. Masks and keypoints of the remaining boxes are the mean over
    the views, predicted for the same boxes; dense masks (`MaskGrids`), which are predicted with the boxes, are kept
    per object. Input images have their stored size: the views resize them.

    Args:
        model: a detector of upright boxes, one-stage or two-stage.
        sizes: lengths of the shorter side, in pixels; one view for each.
        max_size: maximum length of the longer side, in pixels.
        flip: whether to add a horizontally flipped copy of each view.
        flip_pairs: keypoints that change places in a mirror, such as left and right eye; None: those of COCO's persons,
            if there are 17.
        nms: NMS over the detections of all views; None: that of the model.
    """

    def __init__(
        self,
        model: nn.Module,
        sizes: Sequence[int] = (400, 500, 600, 700, 800, 900, 1000, 1100, 1200),
        max_size: int = 4000,
        flip: bool = True,
        flip_pairs: Sequence[tuple[int, int]] | None = None,
        nms: NMS | None = None,
    ) -> None:
        super().__init__()
        if not sizes or min(sizes) < 1:
            raise ConfigError("AugmentedDetector.sizes", "must name at least one side", f"got {list(sizes)}")
        self.model, self.num_classes = model, model.num_classes
        self.sizes, self.max_size, self.flip = tuple(sizes), max_size, flip
        self.flip_pairs = flip_pairs
        if nms is None and not isinstance(model, HasNMS):
            found, fix = f"{type(model).__name__} has no `nms`", "give nms=NMS(...)"
            raise ConfigError("AugmentedDetector.nms", "is needed for a model without such settings", found, fix)
        self.nms: NMS = cast(HasNMS, model).nms if nms is None else nms

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`: the losses of the model on the given images. Without: the merged predictions of all views."""
        if targets is not None:
            losses: dict[str, Tensor] = self.model(batch, targets)
            return losses
        if batch.proposals is not None:
            raise StructureError("ImageBatch.proposals", "cannot be followed through the views")
        return [self._image(pixels[:, :h, :w]) for pixels, (h, w) in zip(batch.pixels, batch.sizes, strict=True)]

    def _image(self, image: Tensor) -> Prediction:
        views = self._views((image.shape[1], image.shape[2]))
        view_detections = [self._predict_view(view, image) for view in views]
        boxes = torch.cat([view.back(each.boxes) for view, each in zip(views, view_detections, strict=True)])
        labels, scores = (
            torch.cat([each.labels for each in view_detections]),
            torch.cat([each.scores for each in view_detections]),
        )
        keep = nms_by_group(boxes, scores, labels, self.nms.iou_threshold)[: self.nms.max_detections]
        keep = keep[box_ops.larger_than(boxes[keep], 0)]
        merged = Detections(boxes=boxes[keep], labels=labels[keep], scores=scores[keep], size=views[0].stored)
        grids = [
            view.grids_back(m)
            for view, each in zip(views, view_detections, strict=True)
            if isinstance(m := each.masks, MaskGrids)
        ]
        if len(grids) == len(view_detections):
            joined = MaskGrids(
                grids=tuple(grid for each in grids for grid in each.grids),
                windows=torch.cat([each.windows for each in grids]),
            )
            return Prediction(detections=replace(merged, masks=joined[keep]))
        if view_detections[0].masks is None and view_detections[0].keypoints is None:
            return Prediction(detections=merged)
        return Prediction(detections=self._describe(merged, views, image))

    def _views(self, stored: Size) -> list[_View]:
        views = []
        for size in self.sizes:
            scale = min(size / min(stored), self.max_size / max(stored))
            height, width = (max(int(side * scale + 0.5), 1) for side in stored)
            views += [
                _View(stored, (height, width), mirrored) for mirrored in ((False, True) if self.flip else (False,))
            ]
        return views

    def _predict_view(self, view: _View, image: Tensor) -> Detections:
        [prediction] = cast(list[Prediction], self.model(view.of(image)))
        detections = prediction.detections
        if detections is None or detections.boxes.shape[1] != 4:
            raise ConfigError("AugmentedDetector.model", "must detect upright boxes", f"{type(self.model).__name__}")
        return detections

    def _describe(self, merged: Detections, views: Sequence[_View], image: Tensor) -> Detections:
        """The detections with the mean of the masks and keypoints of all views."""
        if not isinstance(self.model, GivenBoxes):
            found, fix = f"{type(self.model).__name__} has no predict_given_boxes", "see det_core.contracts.GivenBoxes"
            raise ConfigError("AugmentedDetector.model", "must predict masks and keypoints of given boxes", found, fix)
        masks, keypoints = [], []
        for view in views:
            view_detections = replace(merged, boxes=view.into(merged.boxes), size=view.size)
            [prediction] = self.model.predict_given_boxes(view.of(image), [view_detections])
            if prediction.masks is not None:
                view_masks = cast(Tensor, prediction.masks)
                masks.append(view_masks.flip(2) if view.mirrored else view_masks)
            if prediction.keypoints is not None:
                keypoints.append(view.points_back(prediction.keypoints, self._mirror_order(prediction.keypoints)))
        return replace(
            merged,
            masks=torch.stack(masks).mean(dim=0) if masks else None,
            keypoints=torch.stack(keypoints).mean(dim=0) if keypoints else None,
        )

    def _mirror_order(self, keypoints: Tensor) -> Tensor:
        count = keypoints.shape[1]
        pairs = self.flip_pairs if self.flip_pairs is not None else _PERSON_PAIRS if self.flip else ()
        if pairs is _PERSON_PAIRS and count != 17:
            problem, fix = "are not known for these keypoints", "give them, or flip=False"
            raise ConfigError("AugmentedDetector.flip_pairs", problem, f"there are {count}", fix)
        order = list(range(count))
        for a, b in pairs:
            order[a], order[b] = b, a
        return torch.tensor(order, device=keypoints.device)
