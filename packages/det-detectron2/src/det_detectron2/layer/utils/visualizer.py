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
from det_detectron2.layer.utils._primitives import GenericMask, Primitives

__all__ = ["ColorMode", "GenericMask", "VisImage", "Visualizer"]


@unique
class ColorMode(Enum):
    """Choice of object colors; in all modes, det uses one fixed color per class."""

    IMAGE = 0
    """Over the image."""
    SEGMENTATION = 1
    """On the image; Detectron2 uses the colors of the metadata."""
    IMAGE_BW = 2
    """Over the image in shades of grey."""


class VisImage:
    """A drawn picture.

    Args:
        img: RGB image, uint8 (H, W, 3).
        scale: accepted for compatibility; the image is already scaled.
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


class Visualizer(Primitives):
    """Draws on one image.

    Args:
        img_rgb: RGB image (H, W, 3), values 0 to 255.
        metadata: metadata of the data set: `thing_classes`, `stuff_classes`.
        scale: factor by which the image is enlarged.
        instance_mode: choice of colors, a `ColorMode`.
        font_size_scale: accepted for compatibility; text scales with the image.

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
        source = img_rgb.cpu().numpy() if isinstance(img_rgb, Tensor) else np.asarray(img_rgb)
        image = source.clip(0, 255).astype(np.uint8)
        if instance_mode == ColorMode.IMAGE_BW:
            image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        self._picture = Image.fromarray(image).resize(size) if scale != 1.0 else Image.fromarray(image)
        self._scale, self.size = scale, image.shape[:2]
        self.metadata = MetadataCatalog.get("__nonexist__") if metadata is None else metadata
        self.output = VisImage(np.asarray(self._picture), scale)

    def draw_instance_predictions(self, predictions: Instances) -> VisImage:
        """Draw `pred_boxes`, `scores`, `pred_classes`, `pred_masks` and `pred_keypoints`, as far as there are any."""
        current = predictions.to("cpu")
        count = len(current)
        boxes = _tensor(current.pred_boxes) if current.has("pred_boxes") else _around(current.pred_masks)
        zeros = torch.zeros(count)
        return self._draw(
            Detections(
                boxes=self._boxes(boxes),
                labels=current.pred_classes.long() if current.has("pred_classes") else zeros.long(),
                scores=current.scores.float() if current.has("scores") else zeros,
                size=(self._picture.height, self._picture.width),
                masks=self._scaled(current.pred_masks) if current.has("pred_masks") else None,
                keypoints=self._points(current.pred_keypoints) if current.has("pred_keypoints") else None,
            ),
            self.metadata.get("thing_classes", ()),
        )

    def draw_dataset_dict(self, dic: Mapping[str, Any]) -> VisImage:
        """Draw the annotations of an image of a data set."""
        current = dic.get("annotations") or []
        if current:
            rotated = current[0]["bbox_mode"] == BoxMode.XYWHA_ABS
            form = BoxMode.XYWHA_ABS if rotated else BoxMode.XYXY_ABS
            boxes = [BoxMode.convert(each["bbox"], each["bbox_mode"], form) for each in current]
            segmentations = [each.get("segmentation") for each in current]
            masks: Any = segmentations if all(isinstance(each, list) for each in segmentations) else None
            if masks is None and all(each is not None for each in segmentations):
                masks = [GenericMask(each, *self.size).mask.astype(bool) for each in segmentations]
            points = [each["keypoints"] for each in current if "keypoints" in each]
            labels = [each["category_id"] for each in current]
            self.overlay_instances(
                boxes=np.array(boxes, dtype=np.float32),
                masks=masks,
                keypoints=np.array(points, np.float32).reshape(len(current), -1, 3)
                if len(points) == len(current)
                else None,
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
            boxes: `Boxes`, or a tensor (N, 4), xyxy in pixels.
            labels: text label of each object.
            masks: `PolygonMasks`, `BitMasks`, polygons of each object, or bool (N, H, W).
            keypoints: `Keypoints`, or a tensor (N, K, 3).
            assigned_colors: accepted for compatibility; each label text has its color.
            alpha: accepted for compatibility.
            classes: class index of each object, alternative to `labels`.
        """
        source = None if masks is None else _masks(masks)
        if boxes is None and source is None:
            return self.output
        values = _around(source) if boxes is None else _tensor(boxes)
        names = list(dict.fromkeys(labels or ())) if classes is None else self.metadata.get("thing_classes", ())
        if classes is None:
            classes = [names.index(each) for each in labels] if labels else [0] * len(values)
        points = None if keypoints is None else torch.as_tensor(getattr(keypoints, "tensor", keypoints)).float()
        return self._draw(
            Targets(
                boxes=self._boxes(values),
                labels=torch.as_tensor(list(classes), dtype=torch.int64),
                masks=None if source is None else self._scaled(source),
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

    def _render(self, picture: Image.Image) -> VisImage:
        self._picture = picture
        self.output = VisImage(np.asarray(picture), self._scale)
        return self.output

    def _draw(self, objects: Detections | Targets, names: Sequence[str]) -> VisImage:
        return self._render(draw(self._picture, objects, tuple(names)))

    def _segments(self, segments: PanopticMap, names: Sequence[str]) -> VisImage:
        size = (self.size[1], self.size[0])
        sampled = function("Result.plot")(self._picture.resize(size), segments, tuple(names))
        legend = sampled.crop((0, 0, *size))  # as Detectron2's, a picture has the size of the image
        self._picture = legend.resize(self._picture.size)
        self.output = VisImage(np.asarray(self._picture), self._scale)
        return self.output

    def _boxes(self, boxes: Tensor) -> Tensor:
        """Boxes (N, 4) or (N, 5) in pixels of the picture."""
        scaled = boxes.float().clone()
        scaled[:, :4] *= self._scale
        return scaled

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


def _tensor(boxes: Any) -> Tensor:
    return torch.as_tensor(getattr(boxes, "tensor", boxes)).float()


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
