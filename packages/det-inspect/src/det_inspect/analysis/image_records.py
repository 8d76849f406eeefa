"""Records of ground truth and detections of each image for the error analysis: boxes only, as small arrays.

No torch is needed here.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from det_inspect.results.coco_files import CocoFiles

__all__ = ["ImageRecord", "Objects", "image_records", "objects_of", "overlaps"]

Floats = NDArray[np.float64]
_PAIRS = 1 << 20
_Record = Mapping[str, Any]


class Objects(NamedTuple):
    """Objects of one image.

    Attributes:
        boxes: float64 (N, 4): x0, y0, x1, y1 in pixels.
        labels: int64 (N,): index of the class.
        scores: float64 (N,), in [0, 1]; 1 for ground truth.
        crowd: bool (N,): regions of many objects (COCO's `iscrowd`); False for detections.
    """

    boxes: Floats
    labels: NDArray[np.int64]
    scores: Floats
    crowd: NDArray[np.bool_]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Objects":
        """The objects at these indices (M,), or of this mask (N,)."""
        return Objects(self.boxes[rows], self.labels[rows], self.scores[rows], self.crowd[rows])


class ImageRecord(NamedTuple):
    """Ground truth and detections of one image.

    Attributes:
        image_id: id of the image in its dataset.
        size: (height, width) in pixels; (0, 0) if unknown.
        ground_truth: columns of the G annotated objects.
        detections: columns of the D detections.
        file: path of the image; "" if unknown.
        ious: float64 (D, G): overlaps by which they are matched, such as mask IoU or OKS; None: IoU of the boxes.
        once: bool (G,): crowds in which only one detection is ignored; None: no such crowd.
    """

    image_id: int | str
    size: tuple[int, int]
    ground_truth: Objects
    detections: Objects
    file: str = ""
    ious: Floats | None = None
    once: NDArray[np.bool_] | None = None


def overlaps(detections: Objects, ground_truth: Objects) -> Floats:
    """Intersection over union (D, G); over a crowd, the share of the detection that lies in it."""
    values = np.zeros((len(detections.boxes), len(ground_truth.boxes)))
    object_areas = (ground_truth.boxes[:, 2:] - ground_truth.boxes[:, :2]).prod(-1)[None]
    step = max(1, _PAIRS // max(1, len(ground_truth.boxes)))  # bounds temporary memory in crowded images
    for start in range(0, len(values), step):
        boxes = detections.boxes[start : start + step]
        a, b = boxes[:, None], ground_truth.boxes[None]
        sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
        intersections = sides.clip(0).prod(-1)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)[:, None]
        unions = np.where(ground_truth.crowd, areas, areas + object_areas - intersections)
        np.divide(intersections, unions, out=values[start : start + step], where=unions > 0)
    return values


def image_records(files: "CocoFiles") -> list[ImageRecord]:
    """Records of two files, image by image; results of unknown categories are omitted."""
    images = files.ground_truth["images"]
    ground_truth: list[list[_Record]] = [[] for _ in images]
    detections: list[list[_Record]] = [[] for _ in images]
    for table, by_image in ((files.ground_truth, ground_truth), (files.detections, detections)):
        for entry in table["annotations"]:
            by_image[entry["image_id"]].append(entry)
    return [
        ImageRecord(
            image_id=files.image_ids[image["id"]],
            size=(image["height"], image["width"]),
            ground_truth=objects_of(ground_truth[image["id"]]),
            detections=objects_of(detections[image["id"]]),
            file=str(image["file_name"]),
        )
        for image in images
    ]


def objects_of(records: Sequence[_Record]) -> Objects:
    """Entries of a table whose categories are labels."""
    boxes = np.array([entry["bbox"] for entry in records], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Objects(
        boxes=boxes,
        labels=np.array([entry["category_id"] for entry in records], np.int64),
        scores=np.array([entry.get("score", 1.0) for entry in records], np.float64),
        crowd=np.array([entry["iscrowd"] for entry in records], np.bool_),
    )
