"""COCO evaluation: AP and AR (mAP) of boxes, masks and keypoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from det_core.errors import ConfigError, DataError, StructureError
from det_core.evaluation.coco_keypoints import pixel_indices, require_keypoints
from det_core.evaluation.coco_results import RLE, encode_masks
from det_core.evaluation.coco_rotated import rotated_overlaps
from det_core.evaluation.curves import COCO_SIGMAS, Curves, IouType, Table, curves
from det_core.evaluation.figures import averages, best_threshold, per_class, recalls
from det_core.evaluation.per_image import PerImage, detections_and_targets
from det_core.ops.geometry import geometry
from det_core.structures import Detections, Polygons, Prediction, Sample, Size, Targets

__all__ = ["CocoEvaluator"]


class CocoEvaluator(PerImage["_Image"]):
    """AP and AR of boxes, upright or rotated, of masks and of keypoints, as defined by COCO.

    The ground truth is that of the samples: areas as annotated, crowds ignored. Images are kept in compact form (masks
    as RLE) until `result`.

    Args:
        classes: names of the classes; the label is the index.
        iou_types: types of IoU: "bbox", "segm", "keypoints" (by object keypoint similarity, OKS).
        max_detections: maximum number of detections per image and class, by score.
        max_keypoint_detections: maximum number of detections per image and class for keypoints.
        sigmas: standard deviation of each of the K keypoints in OKS; None for COCO's 17.

    Attributes:
        notes: reason for each missing metric, by its key; set by `result`.
        threshold: score threshold of the best F1 at IoU 0.5 for the first of `iou_types`, or None; set by `result`.
    """

    def __init__(
        self,
        classes: Sequence[str],
        iou_types: Sequence[IouType] = ("bbox",),
        max_detections: int = 100,
        max_keypoint_detections: int = 20,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if not iou_types or not set(iou_types) <= {"bbox", "segm", "keypoints"}:
            raise ConfigError("iou_types", "must be some of 'bbox', 'segm', 'keypoints'", f"got {list(iou_types)}")
        self._limits = {"bbox": max_detections, "segm": max_detections, "keypoints": max_keypoint_detections}
        if min(self._limits.values()) < 1:
            found = f"got {max_detections} and {max_keypoint_detections}"
            raise ConfigError("max_detections", "and max_keypoint_detections must be at least 1", found)
        self.sigmas = tuple(COCO_SIGMAS if sigmas is None else sigmas)
        if not self.sigmas or min(self.sigmas) <= 0:
            raise ConfigError("sigmas", "must be positive, one per keypoint", f"got {sigmas}")
        self.classes, self.iou_types = tuple(classes), tuple(iou_types)
        self.notes: dict[str, str] = {}
        self.threshold: float | None = None

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image.

        Raises:
            DataError: the sample has no ground truth, masks or keypoints to compare with, or its image was added
                before.
            StructureError: the prediction is not of this image or these classes, or has non-finite values.
        """
        where, masks = f"image {sample.id}", "segm" in self.iou_types
        self.require_new(sample)
        detections, targets = detections_and_targets(prediction, sample)
        _check(targets, sample, len(self.classes), masks, "ground truth")
        _check(detections, sample, len(self.classes), masks, "prediction")
        if "keypoints" in self.iou_types:
            require_keypoints(targets, len(self.sigmas), where, "ground truth")
            require_keypoints(detections, len(self.sigmas), where, "prediction")
        self._require_box_format(targets, detections, where)
        crowd = torch.zeros(len(targets), dtype=torch.bool) if targets.crowd is None else targets.crowd
        self._images[sample.id] = _Image(
            targets=_Objects.of(targets, sample.size, masks, crowd=crowd, areas=targets.areas),
            detections=_Objects.of(detections, sample.size, masks, scores=detections.scores),
        )

    def _require_box_format(self, targets: Targets, detections: Detections, where: str) -> None:
        """Raise StructureError unless the boxes of all images, ground truth and predictions, have one format."""
        form = geometry(targets.boxes.shape[1])
        if len(detections):
            form.require(detections.boxes, f"{where}: its prediction")
        if self._images:
            first = next(iter(self._images.values())).targets.boxes
            geometry(first.shape[1]).require(targets.boxes, f"{where}: its ground truth, as that of other images,")
        if form.dim == 5 and set(self.iou_types) != {"bbox"}:
            problem = "its boxes are rotated, for which masks and keypoints are not evaluated"
            raise StructureError(where, problem, fix="compare 'bbox'")

    def result(self) -> dict[str, float]:
        """{"bbox/AP": ..., "bbox/AP50", "bbox/AP75", "bbox/APs", "bbox/APm", "bbox/APl", "bbox/AR100", "bbox/AP/NAME"}.

        All are in [0, 1], and likewise for "segm"; for "keypoints" there is "AR20" and no "APs". Undefined metrics are
        left out, with an entry in `notes`.
        """
        self.notes = {}
        metrics: dict[str, float] = {}
        for iou_type in self.iou_types:
            computed, limit = self._evaluate(iou_type), self._limits[iou_type]
            if iou_type == self.iou_types[0]:
                self.threshold = best_threshold(computed)
            parts = averages(computed, iou_type), recalls(computed, [limit]), per_class(computed, self.classes)
            for name, value, missing in chain(*parts):
                if value is not None:
                    metrics[f"{iou_type}/{name}"] = value
                else:
                    self.notes[f"{iou_type}/{name}"] = missing if self._images else "no image was evaluated"
        return metrics

    def tables(self, iou_type: IouType) -> tuple[Table, Table]:
        """Ground truth and predictions as COCO files; categories are labels, images count from 0."""
        images = [self._images[key] for key in self.image_ids]
        categories = range(len(self.classes))
        ground_truth = _as_coco([image.targets for image in images], categories, iou_type)
        return ground_truth, _as_coco([image.detections for image in images], categories, iou_type)

    def _evaluate(self, iou_type: IouType) -> Curves:
        rotated = any(image.targets.boxes.shape[1] == 5 for image in self._images.values())
        overlaps = rotated_overlaps if rotated else None
        return curves(*self.tables(iou_type), iou_type, [self._limits[iou_type]], self.sigmas, overlaps=overlaps)


class _Objects(NamedTuple):
    """The objects of one image in compact form.

    `size` is the image's; `boxes` (N, 4) xyxy, or (N, 5) rotated; `areas` NaN where derived from box or mask;
    `keypoints` (N, K, 3) in pixel indices.
    """

    size: Size
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float32]
    masks: list[RLE] | None
    keypoints: NDArray[np.float64] | None

    @classmethod
    def of(
        cls,
        source: Targets | Detections,
        size: Size,
        masks: bool,
        scores: Tensor | None = None,
        crowd: Tensor | None = None,
        areas: Tensor | None = None,
    ) -> "_Objects":
        count = len(source)
        return cls(
            size=size,
            boxes=_array(source.boxes),
            labels=_array(source.labels),
            scores=np.ones(count, np.float32) if scores is None else _array(scores),
            crowd=np.zeros(count, np.bool_) if crowd is None else _array(crowd),
            areas=np.full(count, np.nan, np.float32) if areas is None else _array(areas),
            masks=encode_masks(source.masks, source.boxes, size) if masks and source.masks is not None else None,
            keypoints=pixel_indices(source),
        )


@dataclass(frozen=True)
class _Image:
    targets: _Objects
    detections: _Objects


def _array(tensor: Tensor) -> NDArray[Any]:
    # A copy, so that neither the memory of the image nor a graph is kept alive.
    return tensor.detach().cpu().numpy().copy()


def _check(objects: Targets | Detections, sample: Sample, num_classes: int, masks: bool, what: str) -> None:
    where = f"image {sample.id}"
    numbers = [objects.boxes, objects.scores] if isinstance(objects, Detections) else [objects.boxes]
    if not all(bool(values.isfinite().all()) for values in numbers):
        raise StructureError(where, f"its {what} has non-finite values")
    if len(objects) and not 0 <= int(objects.labels.min()) <= int(objects.labels.max()) < num_classes:
        found = f"labels from {int(objects.labels.min())} to {int(objects.labels.max())} and {num_classes} classes"
        raise StructureError(where, f"its {what} has a label without a class", found)
    if masks and objects.masks is None and len(objects):
        fix = "load the dataset with masks" if what == "ground truth" else "use a model that predicts them"
        raise DataError(where, f"its {what} has no masks to compare", fix=f"{fix}, or leave 'segm' out of iou_types")
    if masks and isinstance(objects.masks, Polygons) and not objects.masks.rings.all():
        raise DataError(where, f"its {what} has an object without polygon", fix="set masks to 'bitmaps'")
    bitmaps = objects.masks if masks and isinstance(objects.masks, Tensor) else None
    if bitmaps is not None and bitmaps.dtype == torch.bool and bitmaps.shape[1:] != sample.image.shape[1:]:
        found = f"{tuple(bitmaps.shape[1:])} instead of {sample.size}"
        raise StructureError(where, f"the masks of its {what} are not of the image's size", found)


def _as_coco(images: Sequence[_Objects], categories: Sequence[int], iou_type: IouType) -> Table:
    """The content of a COCO file. Object ids start at 1, as 0 means no match there."""
    annotations: list[Mapping[str, Any]] = []
    for image_id, image in enumerate(images):
        boxes = image.boxes.astype(np.float64)
        if boxes.shape[1] == 4:
            boxes[:, 2:] -= boxes[:, :2]
        areas = image.areas.astype(np.float64)
        if iou_type == "segm" and image.masks:
            # One at a time: pycocotools (2.0.11) cannot count the pixels of more than 255 masks at once.
            pixel_counts = np.array([coco_mask.area(_compressed(rle)) for rle in image.masks], np.float64)
        else:
            pixel_counts = boxes[:, 2] * boxes[:, 3]
        areas = np.where(np.isnan(areas), pixel_counts, areas)
        for row, box in enumerate(boxes.tolist()):
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": int(image.labels[row]),
                "bbox": box,
                "area": float(areas[row]),
                "iscrowd": int(image.crowd[row]),
                "score": float(image.scores[row]),
            }
            if iou_type == "segm" and image.masks is not None:
                annotation["segmentation"] = _compressed(image.masks[row])
            if iou_type == "keypoints" and image.keypoints is not None:
                annotation["keypoints"] = image.keypoints[row].ravel().tolist()
                annotation["num_keypoints"] = int((image.keypoints[row, :, 2] > 0).sum())
            annotations.append(annotation)
    return {
        "images": [{"id": id, "height": image.size[0], "width": image.size[1]} for id, image in enumerate(images)],
        "categories": [{"id": category, "name": str(category)} for category in categories],
        "annotations": annotations,
    }


def _compressed(rle: RLE) -> RLE:
    return {"size": rle["size"], "counts": rle["counts"].encode()}
