"""Objects annotated with a box and a few labelled points, for PointSup (Cheng et al., 2022)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from det_core.data.formats.coco import CocoDataset
from det_core.data.formats.coco_boxes import are_numbers
from det_core.data.formats.coco_index import BadAnnotations, CocoIndex
from det_core.data.formats.indexed import IndexedImages
from det_core.data.transforms import Points
from det_core.errors import ConfigError, DataError
from det_core.structures import Sample, map_tensors
from numpy.typing import NDArray
from torch import Tensor

from det_pointrend.point_targets import LABELS, POINTS

__all__ = ["CocoPointsDataset", "SamplePoints"]

_UNKNOWN = -1
_MAX_LISTED = 10


class CocoPointsDataset(IndexedImages):
    """A COCO file whose annotations hold `point_coords`, [[x, y], ...] in pixels, and `point_labels`, [0 or 1, ...].

    A label is 1 for a point on the object. `python -m det_pointrend.points_from_masks` converts a file with masks. The
    points become the extras `det-pointrend/points` and `det-pointrend/labels`; objects with fewer points than others
    are padded with unlabelled ones (-1), and all points of a crowd are unlabelled.

    Args:
        images: folder that the file names are relative to.
        annotations: COCO JSON file with points.
        classes: as in `det_core.data.CocoDataset`.
        keep_empty: whether images without training objects are kept.
        bad_annotations: "stop" raises an error for invalid annotations, "skip" leaves them out; invalid points always
            raise one.

    Attributes:
        classes: class names, by label.

    Raises:
        DataError: as `det_core.data.CocoDataset`, or an object other than a crowd has no valid points.
    """

    def __init__(
        self,
        images: Path,
        annotations: Path,
        classes: Sequence[str] | None = None,
        keep_empty: bool = True,
        bad_annotations: BadAnnotations = "stop",
    ) -> None:
        listing = CocoDataset.listing(images, annotations)
        index = listing.checked(classes, bad_annotations=bad_annotations)
        records = {each["id"]: each for each in listing.content.get("annotations", ()) if isinstance(each, dict)}
        rows = [records[object_id] for object_id in index.object_ids.tolist()]
        points = _points(rows, index, str(annotations))
        index = replace(index, marks={**index.marks, POINTS: points})
        super().__init__(index, listing.images, listing.annotations, keep_empty)

    def __getitem__(self, index: int) -> Sample:
        """The image and its objects as stored."""
        sample = super().__getitem__(index)
        if sample.targets is None:
            return sample
        values = sample.targets.extras[POINTS]
        # The centre of the pixel.
        points: Tensor = Points(values[..., :2] + 0.5, canvas_size=sample.size)
        extras = {**sample.targets.extras, POINTS: points, LABELS: values[..., 2].to(torch.int8)}
        return replace(sample, targets=replace(sample.targets, extras=extras))


def _points(records: Sequence[Mapping[str, Any]], index: CocoIndex, where: str) -> NDArray[np.float32]:
    """(A, P, 3): x, y, label of the points of each object."""
    faults = [
        f"annotation {record['id']!r:.40} {fault}"
        for record, crowd in zip(records, index.crowd, strict=True)
        if not crowd and (fault := _fault(record))
    ]
    if faults:
        detail = "; ".join(faults[:_MAX_LISTED]) + (
            f"; and {len(faults) - _MAX_LISTED} more" if len(faults) > _MAX_LISTED else ""
        )
        fix = "make the file with `python -m det_pointrend.points_from_masks`"
        raise DataError(where, "lacks valid points for some objects", detail, fix)
    point_labels = [[] if crowd else record["point_labels"] for record, crowd in zip(records, index.crowd, strict=True)]
    points = np.zeros((len(records), max(map(len, point_labels), default=1) or 1, 3), np.float32)
    points[..., 2] = _UNKNOWN
    for row, record, labels in zip(points, records, point_labels, strict=True):
        if labels:
            row[: len(labels), :2], row[: len(labels), 2] = record["point_coords"], labels
    return points


def _fault(record: Mapping[str, Any]) -> str | None:
    points, labels = record.get("point_coords"), record.get("point_labels")
    if not isinstance(points, list) or not isinstance(labels, list) or not points:
        return "has no 'point_coords' and 'point_labels'"
    if len(points) != len(labels):
        return f"has {len(points)} points and {len(labels)} labels of points"
    if not all(are_numbers(point) and len(point) == 2 for point in points):
        return "has a point that is not two finite numbers"
    return None if all(label in (0, 1) for label in labels) else "has a label of a point that is neither 0 nor 1"


class SamplePoints:
    """Keeps a random subset of the points of each object: the augmentation of PointSup.

    Args:
        count: maximum number of points per object.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ConfigError("SamplePoints.count", "must be at least 1", f"got {count}")
        self.count = count

    def __call__(self, sample: Sample) -> Sample:
        """The sample with fewer points; unchanged without points."""
        targets = sample.targets
        if targets is None or LABELS not in targets.extras:
            return sample
        labels = targets.extras[LABELS]
        # Unlabelled points are last.
        order = (torch.rand(labels.shape) - (labels < 0).float()).argsort(dim=1, descending=True)[:, : self.count]
        row = torch.arange(len(labels))[:, None]
        fewer = {key: map_tensors(targets.extras[key], lambda values: values[row, order]) for key in (POINTS, LABELS)}
        return replace(sample, targets=replace(targets, extras={**targets.extras, **fewer}))
