"""The check of an exported file: it is run on pictures and compared with the model, by matching and never by rank."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from det_core.data import read_image
from det_core.errors import DataError, DetError
from det_core.ops import geometry
from det_core.structures import Detections, ImageBatch, Prediction, Size
from torch import Tensor, nn
from torch.nn import functional as F

from det_export import measures
from det_export.exported import ExportedModel

__all__ = ["BLACK", "Agreement", "Row", "compare", "pictures", "shipped", "sizes_for"]

BOXES, SCORES, MATCHED, KEYPOINTS, MASKS, SEMANTIC, EXTRAS = 0.01, 1e-4, 0.99, 1.0, 0.99, 0.999, 1e-3
"""What agrees: pixels, scores, share of detections, pixels of a keypoint, mean overlap of masks, share of classes, and
extras relative to their largest value."""

BLACK = "(black)"
"""What stands as the name of the black picture."""

_OVERLAP = 0.9  # of two boxes that are the same detection
_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


@dataclass
class Row:
    """One image at one size.

    Attributes:
        image, size: which, (height, width).
        expected, found: detections of the model and of the file.
        matched: share of both that have a partner: same label, overlap at least 0.9; 1 where both have none.
        boxes, scores, keypoints: largest differences of partners, in pixels, and of scores.
        masks: mean overlap (IoU) of the masks of partners, thresholded at 0.5; 1 where there are none.
        semantic: share of pixels with the same class, and of segments with the same class too; 1 where there are none.
        extras: largest difference of the extras of partners, as a share of the largest value of each.
        milliseconds: of the model and of the file.
        problem: why the file computed nothing; "" where it did.
    """

    image: str
    size: Size
    expected: int = 0
    found: int = 0
    matched: float = 1.0
    boxes: float = 0.0
    scores: float = 0.0
    keypoints: float = 0.0
    masks: float = 1.0
    semantic: float = 1.0
    extras: float = 0.0
    milliseconds: tuple[float, float] = (0.0, 0.0)
    problem: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the file ran and every figure is within its bound; not where one is NaN."""
        if self.problem:
            return False
        close = self.boxes <= BOXES and self.scores <= SCORES and self.keypoints <= KEYPOINTS and self.extras <= EXTRAS
        return close and self.matched >= MATCHED and self.masks >= MASKS and self.semantic >= SEMANTIC


@dataclass
class Agreement:
    """What the check measured.

    Attributes:
        rows: per picture and size.
        megabytes: of the file.
    """

    rows: list[Row] = field(default_factory=list)
    megabytes: float = 0.0

    @property
    def agrees(self) -> bool:
        """Whether all rows do, and there is one."""
        return bool(self.rows) and all(row.agrees for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """What stands in the metadata of a file."""
        worst = {
            name: max(getattr(row, name) for row in self.rows) for name in ("boxes", "scores", "keypoints", "extras")
        }
        least = {name: min(getattr(row, name) for row in self.rows) for name in ("matched", "masks", "semantic")}
        rows = [dataclasses.asdict(row) for row in self.rows]
        return {"agrees": self.agrees, **worst, **least, "megabytes": self.megabytes, "rows": rows}


def shipped() -> list[Path]:
    """The pictures that the package brings, small and of different kinds."""
    return sorted((Path(__file__).parent / "pictures").glob("*.png"))


def pictures(folder: Path | None) -> list[Path]:
    """The first three images of a folder, by name; those that are shipped where it is None.

    Raises:
        DataError: there is no image in the folder.
    """
    if folder is None:
        return shipped()
    listed = sorted(path for path in folder.glob("*") if path.suffix.lower() in _IMAGES) if folder.is_dir() else []
    if not listed:
        raise DataError(str(folder), "is no folder with images", fix="name one that holds .jpg or .png files")
    return listed[:3]


def sizes_for(exported: ExportedModel, example: Size) -> list[Size]:
    """Three sizes that differ from the example's, and from each other in both sides, all within what the file takes."""
    facts = exported.facts
    limit = facts.fixed or (facts.largest, facts.largest)
    least = (1, 1) if facts.fixed else (facts.smallest, facts.smallest)
    wanted = [(0.73, 0.91), (1.31, 0.83), (0.57, 0.61)]
    sizes = [tuple(int(side * f) for side, f in zip(example, factors, strict=True)) for factors in wanted]
    return [
        (min(max(h, least[0]), limit[0]), min(max(w, least[1]), limit[1] if w != example[1] else limit[1] - 1))
        for h, w in sizes
    ]


def compare(
    model: nn.Module, exported: ExportedModel, images: Sequence[Path], sizes: Sequence[Size], path: Path
) -> Agreement:
    """Run both on every picture at every size, and on a black one, with equal pixels entering the network.

    On the black picture trained models detect nothing. A file that fails on a picture differs there.

    Args:
        model: in evaluation mode, on the CPU.
        exported: the file, as it was loaded again.
        images: files.
        sizes: that each is brought to.
        path: the file, for its size.
    """
    agreement = Agreement(megabytes=path.stat().st_size / 1e6)
    for image in images:
        pixels = read_image(image)
        for size in sizes:
            resized = F.interpolate(pixels[None].float(), size=size, mode="bilinear", antialias=True)[0]
            agreement.rows.append(_row(model, exported, resized.round().to(torch.uint8), image.name))
    for size in sizes[:1]:
        agreement.rows.append(_row(model, exported, torch.zeros(3, *size, dtype=torch.uint8), BLACK))
    return agreement


def _row(model: nn.Module, exported: ExportedModel, image: Tensor, name: str) -> Row:
    size = (image.shape[1], image.shape[2])
    count = exported.facts.batch_size
    entering, _ = exported.entering([image] * count, [size] * count)
    batch = ImageBatch(pixels=entering, sizes=(size,) * count)
    with torch.no_grad():
        (expected, *_), before = _timed(model, batch)
        try:
            (found, *_), after = _timed(exported, batch)
        except DetError as error:
            count = 0 if expected.detections is None else len(expected.detections)
            return Row(name, size, count, matched=0.0, milliseconds=(before, 0.0), problem=str(error))
    row = Row(name, size, milliseconds=(before, after))
    one, other = (measures.boxes_of(each, size) for each in (expected, found))
    if one is not None and other is not None:
        _compare_detections(row, one, other)
    elif (one is None) != (other is None):
        row.matched = 0.0
    if expected.semantic is not None:
        _compare_semantic(row, expected, found)
    row.semantic = min(row.semantic, measures.same_segments(expected, found))
    row.extras = max(row.extras, measures.largest_difference(expected.extras, found.extras))
    return row


def _timed(model: nn.Module, batch: ImageBatch) -> tuple[list[Prediction], float]:
    start = time.perf_counter()
    predictions = model(batch)
    return predictions, (time.perf_counter() - start) * 1000


def _compare_semantic(row: Row, expected: Prediction, found: Prediction) -> None:
    if expected.semantic is None or found.semantic is None:
        row.semantic = 0.0
        return
    one, other = expected.semantic.logits, found.semantic.logits
    row.semantic = float((one.argmax(0) == other.argmax(0)).float().mean()) if one.shape == other.shape else 0.0


def _compare_detections(row: Row, expected: Detections, found: Detections) -> None:
    row.expected, row.found = len(expected), len(found)
    first, second = _partners(expected, found)
    most = max(len(expected), len(found))
    row.matched = len(first) / most if most else 1.0
    if not len(first):
        return
    one, other = expected[first], found[second]
    row.boxes = float((one.boxes - other.boxes).abs().max())
    row.scores = float((one.scores - other.scores).abs().max())
    if one.keypoints is not None:
        row.keypoints = (
            float("inf") if other.keypoints is None else float((one.keypoints - other.keypoints)[..., :2].abs().max())
        )
    row.extras = measures.largest_difference(one.extras, other.extras)
    if one.masks is not None:
        row.masks = measures.overlap(one.masks, other.masks)


def _partners(expected: Detections, found: Detections) -> tuple[Tensor, Tensor]:
    """Rows of both that are the same detection, int64 (K,) each: the greatest overlaps first."""
    overlap = geometry.geometry(expected.boxes.shape[1]).iou(expected.boxes, found.boxes)
    overlap = torch.where(expected.labels[:, None] == found.labels, overlap, 0.0)
    pairs: list[tuple[int, int]] = []
    rows, columns = torch.nonzero(overlap >= _OVERLAP, as_tuple=True)
    # Boxes that lie at the border of an image may be the same exactly: then scores tell them apart.
    apart = (expected.scores[rows] - found.scores[columns]).abs()
    order = (overlap[rows, columns] - apart / 1000).argsort(descending=True)
    taken: tuple[set[int], set[int]] = (set(), set())
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in taken[0] and column not in taken[1]:
            taken[0].add(row)
            taken[1].add(column)
            pairs.append((row, column))
    rows_and_columns = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    return rows_and_columns[:, 0], rows_and_columns[:, 1]
