"""Pictures of annotations and predictions, as `detectron2.utils.visualizer`; drawn by det."""

from collections.abc import Mapping, Sequence
from enum import Enum, unique
from pathlib import Path
from typing import Any

import numpy as np
import torch
from det_core.plugins.known import function
from det_core.structures import Detections, PanopticMap, Polygons, Targets
from det_core.visual import draw
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from det_detectron2.layer.data.catalog import Metadata, MetadataCatalog
from det_detectron2.layer.structures import BitMasks, BoxMode, Instances, PolygonMasks

__all__ = ["ColorMode", "VisImage", "Visualizer"]


@unique
class ColorMode(Enum):
    """How objects are coloured; det gives each class a colour of its own in all of them."""

    IMAGE = 0
    """Over the image."""
    SEGMENTATION = 1
    """Over the image, by the colours of the metadata in Detectron2."""
    IMAGE_BW = 2
    """Over the image in shades of grey."""


class VisImage:
    """A drawn picture.

    Args:
        img: uint8 RGB (H, W, 3).
        scale: accepted; the picture has been scaled.
    """

    def __init__(self, img: NDArray[Any], scale: float = 1.0) -> None:
        self.img, self.scale = img, scale
        self.height, self.width = img.shape[:2]

    def get_image(self) -> NDArray[np.uint8]:
        """uint8 RGB (H, W, 3)."""
        return self.img.astype("uint8")

    def save(self, filepath: str | Path) -> None:
        """Write it; the suffix gives the format."""
        Image.fromarray(self.get_image()).save(filepath)


class Visualizer:
    """Draws on one image.

    Args:
        img_rgb: (H, W, 3), values 0 to 255, RGB.
        metadata: of the data set: `thing_classes`, `stuff_classes`.
        scale: of the picture.
        instance_mode: see `ColorMode`.
        font_size_scale: accepted; letters grow with the picture.

    Attributes:
        output: the picture as drawn so far.
    """

    def __init__(
        self,
        img_rgb: NDArray[Any],
        metadata: Metadata | None = None,
        scale: float = 1.0,
        instance_mode: ColorMode = ColorMode.IMAGE,
        font_size_scale: float = 1.0,
    ) -> None:
        image = np.asarray(img_rgb).clip(0, 255).astype(np.uint8)
        if instance_mode == ColorMode.IMAGE_BW:
            image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        self._picture = Image.fromarray(image).resize(size) if scale != 1.0 else Image.fromarray(image)
        self._scale, self.size = scale, image.shape[:2]
        self.metadata = MetadataCatalog.get("__nonexist__") if metadata is None else metadata
        self.output = VisImage(np.asarray(self._picture), scale)

    def draw_instance_predictions(self, predictions: Instances) -> VisImage:
        """Draw `pred_boxes`, `scores`, `pred_classes`, `pred_masks` and `pred_keypoints`, as far as there are any."""
        own = predictions.to("cpu")
        count = len(own)
        boxes = own.pred_boxes.tensor if own.has("pred_boxes") else _around(own.pred_masks)
        zeros = torch.zeros(count)
        return self._draw(
            Detections(
                boxes=boxes.float() * self._scale,
                labels=own.pred_classes.long() if own.has("pred_classes") else zeros.long(),
                scores=own.scores.float() if own.has("scores") else zeros,
                size=(self._picture.height, self._picture.width),
                masks=self._scaled(own.pred_masks) if own.has("pred_masks") else None,
                keypoints=self._points(own.pred_keypoints) if own.has("pred_keypoints") else None,
            ),
            self.metadata.get("thing_classes", ()),
        )

    def draw_dataset_dict(self, dic: Mapping[str, Any]) -> VisImage:
        """Draw the annotations of an image of a data set."""
        own = dic.get("annotations") or []
        if own:
            boxes = [BoxMode.convert(each["bbox"], each["bbox_mode"], BoxMode.XYXY_ABS) for each in own]
            outlines = [each.get("segmentation") for each in own]
            masks = outlines if all(isinstance(each, list) for each in outlines) else None
            points = [each["keypoints"] for each in own if "keypoints" in each]
            labels = [each["category_id"] for each in own]
            self.overlay_instances(
                boxes=np.array(boxes, dtype=np.float32),
                masks=masks,
                keypoints=np.array(points, np.float32).reshape(len(own), -1, 3) if len(points) == len(own) else None,
                classes=labels,
            )
        if isinstance(dic.get("sem_seg"), np.ndarray | Tensor):
            self.draw_sem_seg(dic["sem_seg"])
        return self.output

    def overlay_instances(
        self,
        *,
        boxes: Any = None,
        labels: Sequence[str] | None = None,
        masks: Any = None,
        keypoints: Any = None,
        assigned_colors: Any = None,
        alpha: float = 0.5,
        classes: Sequence[int] | None = None,
    ) -> VisImage:
        """Draw boxes, masks and keypoints.

        Args:
            boxes: `Boxes`, or (N, 4).
            labels: the text of each object.
            masks: `PolygonMasks`, `BitMasks`, outlines of each object, or bool (N, H, W).
            keypoints: `Keypoints`, or (N, K, 3).
            assigned_colors: accepted; each text has a colour of its own.
            alpha: accepted.
            classes: the label of each object, in place of `labels`.
        """
        given = None if masks is None else _masks(masks)
        if boxes is None and given is None:
            return self.output
        values = _around(given) if boxes is None else torch.as_tensor(getattr(boxes, "tensor", boxes)).float()
        names = list(dict.fromkeys(labels or ())) if classes is None else self.metadata.get("thing_classes", ())
        if classes is None:
            classes = [names.index(each) for each in labels] if labels else [0] * len(values)
        points = None if keypoints is None else torch.as_tensor(getattr(keypoints, "tensor", keypoints)).float()
        return self._draw(
            Targets(
                boxes=values * self._scale,
                labels=torch.as_tensor(list(classes), dtype=torch.int64),
                masks=None if given is None else self._scaled(given),
                keypoints=None if points is None else self._points(points),
            ),
            names,
        )

    def draw_sem_seg(self, sem_seg: Any, area_threshold: int | None = None, alpha: float = 0.8) -> VisImage:
        """Draw the class of each pixel, (H, W)."""
        labels = torch.as_tensor(np.asarray(sem_seg)).long()
        classes = self.metadata.get("stuff_classes", ())
        ids, segments = torch.zeros_like(labels, dtype=torch.int32), []
        for number, label in enumerate(labels.unique().tolist(), 1):
            if label < max(len(classes), 1) or (not classes and label != 255):
                ids[labels == label] = number
                segments.append({"id": number, "label": label, "is_thing": False})
        return self._segments(PanopticMap(ids=ids, segments=segments), classes)

    def draw_panoptic_seg(self, panoptic_seg: Tensor, segments_info: Sequence[Mapping[str, Any]] | None) -> VisImage:
        """Draw segments: the number of each pixel's, (H, W), and what each is."""
        things = list(self.metadata.get("thing_classes", ()))
        stuff = list(self.metadata.get("stuff_classes", ()))
        names = things + [each for each in stuff if each not in things]
        segments = []
        for each in segments_info or ():
            thing = bool(each["isthing"])
            name = (things if thing else stuff)[each["category_id"]] if (things if thing else stuff) else None
            label = names.index(name) if name in names else int(each["category_id"])
            segments.append({"id": each["id"], "label": label, "is_thing": thing})
        ids = torch.as_tensor(panoptic_seg).cpu().int()
        return self._segments(PanopticMap(ids=ids, segments=segments), names)

    draw_panoptic_seg_predictions = draw_panoptic_seg

    def get_output(self) -> VisImage:
        """The picture as drawn so far."""
        return self.output

    def _draw(self, objects: Detections | Targets, names: Sequence[str]) -> VisImage:
        self._picture = draw(self._picture, objects, tuple(names))
        self.output = VisImage(np.asarray(self._picture), self._scale)
        return self.output

    def _segments(self, segments: PanopticMap, names: Sequence[str]) -> VisImage:
        size = (self.size[1], self.size[0])
        drawn = function("Result.plot")(self._picture.resize(size), segments, tuple(names))
        legend = drawn.crop((0, 0, *size))  # as Detectron2's, a picture has the size of the image
        self._picture = legend.resize(self._picture.size)
        self.output = VisImage(np.asarray(self._picture), self._scale)
        return self.output

    def _points(self, points: Tensor) -> Tensor:
        return torch.cat((points[..., :2] * self._scale, points[..., 2:3]), dim=-1)

    def _scaled(self, masks: Any) -> Any:
        if isinstance(masks, Polygons):
            if self._scale == 1.0:
                return masks
            return Polygons.of([[ring.reshape(-1) * self._scale for ring in rings] for rings in masks])
        grids = torch.as_tensor(getattr(masks, "tensor", masks)).bool()
        if self._scale == 1.0:
            return grids
        size = (self._picture.height, self._picture.width)
        return torch.nn.functional.interpolate(grids[:, None].float(), size=size)[:, 0] > 0.5


def _masks(masks: Any) -> Any:
    if isinstance(masks, PolygonMasks):
        return Polygons.of(masks.polygons)
    if isinstance(masks, BitMasks):
        return masks.tensor
    if isinstance(masks, list) and masks and isinstance(masks[0], list):
        return Polygons.of([[np.asarray(ring, np.float64) for ring in rings] for rings in masks])
    return torch.as_tensor(np.stack([np.asarray(each) for each in masks])) if isinstance(masks, list) else masks


def _around(masks: Any) -> Tensor:
    """The boxes (N, 4) around masks."""
    if isinstance(masks, Polygons):
        return PolygonMasks([[ring.reshape(-1) for ring in rings] for rings in masks]).get_bounding_boxes().tensor
    return BitMasks(torch.as_tensor(getattr(masks, "tensor", masks))).get_bounding_boxes().tensor
