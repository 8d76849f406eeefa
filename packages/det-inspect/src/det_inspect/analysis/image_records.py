"""Records of ground truth and detections of each image for the error analysis: boxes only, as small arrays.

No torch is needed here.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from det_inspect.results.coco_files import CocoFiles

__all__ = ["ImageRecord", "Objects", "objects_of", "overlaps", "records_of"]

Floats = NDArray[np.float64]
_PAIRS = 1 << 20
_Record = Mapping[str, Any]


class Objects(NamedTuple):
    """Objects of one image.

    Attributes:
        boxes: float64 (N, 4): x0, y0, x1, y1 in pixels.
        labels: int64 (N,).
        scores: float64 (N,); 1 for ground truth.
        crowd: bool (N,).
    """

    boxes: Floats
    labels: NDArray[np.int64]
    scores: Floats
    crowd: NDArray[np.bool_]

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Objects":
        """The chosen ones: a mask (N,), or indices."""
        return Objects(self.boxes[chosen], self.labels[chosen], self.scores[chosen], self.crowd[chosen])


class ImageRecord(NamedTuple):
    """One image: its size is (height, width); `file` is "" if it is not known.

    `shared` are the overlaps (D, G), of masks or keypoints say; None: those of the boxes. `once`, bool (G,), are those
    of the crowds that only one detection may lie in; None: none.
    """

    image_id: int | str
    size: tuple[int, int]
    truth: Objects
    found: Objects
    file: str = ""
    shared: Floats | None = None
    once: NDArray[np.bool_] | None = None


def overlaps(found: Objects, truth: Objects) -> Floats:
    """Intersection over union (D, G); over a crowd, the share of the detection that lies in it."""
    values = np.zeros((len(found.boxes), len(truth.boxes)))
    other = (truth.boxes[:, 2:] - truth.boxes[:, :2]).prod(-1)[None]
    step = max(1, _PAIRS // max(1, len(truth.boxes)))  # bounds temporary memory in crowded images
    for start in range(0, len(values), step):
        boxes = found.boxes[start : start + step]
        a, b = boxes[:, None], truth.boxes[None]
        sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
        shared = sides.clip(0).prod(-1)
        own = (boxes[:, 2:] - boxes[:, :2]).prod(-1)[:, None]
        whole = np.where(truth.crowd, own, own + other - shared)
        np.divide(shared, whole, out=values[start : start + step], where=whole > 0)
    return values


def records_of(files: "CocoFiles") -> list[ImageRecord]:
    """Records of two files, image by image; results of unknown categories are omitted."""
    images = files.truth["images"]
    truth: list[list[_Record]] = [[] for _ in images]
    found: list[list[_Record]] = [[] for _ in images]
    for table, by_image in ((files.truth, truth), (files.found, found)):
        for own in table["annotations"]:
            by_image[own["image_id"]].append(own)
    return [
        ImageRecord(
            image_id=files.image_ids[image["id"]],
            size=(image["height"], image["width"]),
            truth=objects_of(truth[image["id"]]),
            found=objects_of(found[image["id"]]),
            file=str(image["file_name"]),
        )
        for image in images
    ]


def objects_of(records: Sequence[_Record]) -> Objects:
    """Entries of a table whose categories are labels."""
    boxes = np.array([own["bbox"] for own in records], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Objects(
        boxes=boxes,
        labels=np.array([own["category_id"] for own in records], np.int64),
        scores=np.array([own.get("score", 1.0) for own in records], np.float64),
        crowd=np.array([own["iscrowd"] for own in records], np.bool_),
    )
