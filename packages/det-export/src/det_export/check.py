"""The check of an exported file: it is run on pictures and compared with the model, by matching and never by rank."""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from det_core.data import read_image
from det_core.errors import DetError
from det_core.ops import geometry
from det_core.structures import Detections, ImageBatch, Prediction, Size
from torch import Tensor, nn
from torch.nn import functional as F

from det_export import measures
from det_export.calibration import listed
from det_export.exported import ExportedModel
from det_export.proposals import with_proposals
from det_export.stable_topk import StableTopK

__all__ = ["BLACK", "BOUNDS", "Agreement", "Bounds", "Picture", "Row", "compare", "pictures", "shipped", "sizes_for"]


@dataclass(frozen=True)
class Bounds:
    """What agrees.

    Attributes:
        boxes, scores: largest differences, in pixels and of scores.
        matched: least share of detections with a match.
        keypoints: largest difference in pixels.
        masks: least mean overlap.
        semantic: least share of pixels with the same class.
        overlap: of two boxes that are the same detection.
        score: detections of less, in the model and the file, need no match.
        extras: largest difference, as a share of the largest value.
        metric: what AP of the file may be less than that of the model, in [0, 1].
    """

    boxes: float = 0.01
    scores: float = 1e-4
    matched: float = 0.99
    keypoints: float = 1.0
    masks: float = 0.99
    semantic: float = 0.999
    overlap: float = 0.9
    score: float = 0.0
    metric: float = 0.001
    extras: float = 1e-3


_ROUNDED = math.inf
BOUNDS: Mapping[str, Bounds] = {
    "fp32": Bounds(),
    "bf16": Bounds(_ROUNDED, _ROUNDED, 0.95, _ROUNDED, 0.9, 0.98, 0.7, 0.3, 0.01, _ROUNDED),
    "int8": Bounds(_ROUNDED, _ROUNDED, 0.9, _ROUNDED, 0.8, 0.95, 0.5, 0.3, 0.01, _ROUNDED),
}
"""By precision. Where arithmetic is rounded, detections of at least 0.3 must be found again, and AP kept."""

Picture = Path | tuple[str, Tensor]
"""A file, or a name and pixels uint8 (3, H, W)."""

BLACK = "(black)"
"""The name of the black picture."""


@dataclass
class Row:
    """One image at one size.

    Attributes:
        image, size: which, (height, width).
        expected, found: detections of the model and of the file.
        matched: share of both that have a match: same label, overlap at least 0.9; 1 where both have none.
        boxes, scores, keypoints: largest differences of matches, in pixels, and of scores.
        masks: mean overlap (IoU) of the masks of matches, thresholded at 0.5; 1 where there are none.
        semantic: share of pixels with the same class, and of segments with the same class too; 1 where there are none.
        extras: largest difference of the extras of matches, as a share of the largest value of each.
        milliseconds: of the model and of the file.
        ties: whether it is compared with the model as it orders equal scores under `StableTopK`, since it differs from
            the model as it is.
        problem: why the file computed nothing; "" where it did.
        bounds: what agrees.
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
    ties: bool = False
    problem: str = ""
    bounds: Bounds = BOUNDS["fp32"]

    @property
    def agrees(self) -> bool:
        """Whether the file ran and every figure is within its bound; not where one is NaN."""
        if self.problem:
            return False
        most = self.bounds
        close = self.boxes <= most.boxes and self.scores <= most.scores and self.keypoints <= most.keypoints
        close = close and self.extras <= most.extras
        return close and self.matched >= most.matched and self.masks >= most.masks and self.semantic >= most.semantic


@dataclass
class Agreement:
    """What the check measured.

    Attributes:
        rows: per picture and size.
        megabytes: of the file.
        resizing: per picture, the file that resizes against the model behind its own transforms; informs only.
        metrics: of each AP, those of the model and of the file, where a set was given.
        images: of that set, as many as were evaluated.
        metric_bound: what AP of the file may be less.
        unmeasured: why there is no AP where there is a set; "" otherwise.
    """

    rows: list[Row] = field(default_factory=list)
    megabytes: float = 0.0
    resizing: list[Row] = field(default_factory=list)
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)
    images: int = 0
    metric_bound: float = BOUNDS["fp32"].metric
    unmeasured: str = ""

    @property
    def agrees(self) -> bool:
        """Whether all rows and all AP do, and there is a row."""
        kept = all(found >= expected - self.metric_bound for expected, found in self.metrics.values())
        return bool(self.rows) and all(row.agrees for row in self.rows) and kept

    @property
    def ties(self) -> bool:
        """Whether a row agrees with the model in another order of equal scores alone."""
        return any(row.ties for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """The results of the check as metadata."""
        worst = {
            name: max(getattr(row, name) for row in self.rows) for name in ("boxes", "scores", "keypoints", "extras")
        }
        least = {name: min(getattr(row, name) for row in self.rows) for name in ("matched", "masks", "semantic")}
        rows, resizing = ([_as_dict(row) for row in each] for each in (self.rows, self.resizing))
        found = {"agrees": self.agrees, **worst, **least, "megabytes": self.megabytes, "rows": rows}
        found |= {"resizing": resizing} if resizing else {}
        return found | ({"metrics": self.metrics, "images": self.images} if self.metrics else {})


def _as_dict(row: Row) -> dict[str, Any]:
    found = dataclasses.asdict(row)
    del found["bounds"]
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in found.items()
    }


def shipped() -> list[Path]:
    """The pictures that the package brings, small and of different kinds."""
    return sorted((Path(__file__).parent / "pictures").glob("*.png"))


def pictures(folder: Path | None) -> list[Path]:
    """The first three images of a folder, by name; those that are shipped where it is None.

    Raises:
        DataError: there is no image in the folder.
    """
    return shipped() if folder is None else listed(folder, "--check", 3)


def sizes_for(exported: ExportedModel, example: Size) -> list[Size]:
    """Three sizes other than the example's, different from each other in both sides, within the limits of the file."""
    metadata = exported.metadata
    if metadata.resizes:
        return _sizes_of(metadata.resize)
    limit = metadata.fixed or (metadata.largest, metadata.largest)
    least = (1, 1) if metadata.fixed else (metadata.smallest, metadata.smallest)
    wanted = [(0.73, 0.91), (1.31, 0.83), (0.57, 0.61)]
    sizes = [tuple(int(side * f) for side, f in zip(example, factors, strict=True)) for factors in wanted]
    return [
        (min(max(h, least[0]), limit[0]), min(max(w, least[1]), limit[1] if w != example[1] else limit[1] - 1))
        for h, w in sizes
    ]


def _sizes_of(rule: Mapping[str, Any]) -> list[Size]:
    """Sizes that a file which resizes leaves as they are."""
    short = int(rule["short"] or 256)
    longest = int(rule["long"] or 4 * short)
    sides = [min(longest, round(short * factor)) for factor in (1.37, 1.21, 1.0)]
    return [(short, sides[0]), (sides[1], short), (short, sides[2])]


def compare(
    model: nn.Module, exported: ExportedModel, images: Sequence[Picture], sizes: Sequence[Size], path: Path
) -> Agreement:
    """Run both on every picture at every size, and on a black one, with equal pixels entering the network.

    On the black picture trained models detect nothing. A file that fails on a picture differs there.

    Args:
        model: in evaluation mode, on the CPU.
        exported: the file, as it was loaded again.
        images: files, or names and pixels uint8 (3, H, W).
        sizes: that each is brought to.
        path: the file, for its size.
    """
    bounds = BOUNDS[exported.metadata.precision]
    weights = path.with_suffix(".bin") if path.suffix == ".xml" else path
    total = path.stat().st_size + (weights.stat().st_size if weights != path else 0)
    agreement = Agreement(megabytes=total / 1e6, metric_bound=bounds.metric)
    for image in images:
        name, pixels = (image.name, read_image(image)) if isinstance(image, Path) else image
        for size in sizes:
            resized = F.interpolate(pixels[None].float(), size=size, mode="bilinear", antialias=True)[0]
            agreement.rows += _rows(model, exported, resized.round().to(torch.uint8), name)
    for size in sizes[:1]:
        agreement.rows += _rows(model, exported, torch.zeros(3, *size, dtype=torch.uint8), BLACK)
    return agreement


def _rows(model: nn.Module, exported: ExportedModel, image: Tensor, name: str) -> list[Row]:
    """The row of an image; where the file takes several, also those of the mirrored and of a black one beside it."""
    size = (image.shape[1], image.shape[2])
    count = 3 if exported.metadata.any_batch else exported.metadata.batch_size
    images = ([image, image.flip(2), torch.zeros_like(image)] * count)[:count]
    entering, _ = exported.entering(images, [size] * count)
    batch = with_proposals(model, ImageBatch(pixels=entering, sizes=(size,) * count))
    with torch.no_grad():
        expected, before = timed(model, batch)
        rows = [Row(each, size, milliseconds=(before, 0.0)) for each in (name, f"{name}, mirrored", BLACK)[:count]]
        try:
            predictions, after = timed(exported, batch)
        except DetError as error:
            for row, prediction in zip(rows, expected, strict=False):
                row.expected = 0 if prediction.detections is None else len(prediction.detections)
                row.matched, row.problem = 0.0, str(error)
            return rows
    bounds = BOUNDS[exported.metadata.precision]
    rows = [dataclasses.replace(row, milliseconds=(before, after), bounds=bounds) for row in rows]
    plain = _compared(rows, expected, predictions)
    if all(row.agrees for row in plain):
        return plain
    with torch.no_grad(), StableTopK():
        expected, _ = timed(model, batch)
    ordered = _compared([dataclasses.replace(row, ties=True) for row in rows], expected, predictions)
    return ordered if all(row.agrees for row in ordered) else plain


def _compared(rows: Sequence[Row], expected: Sequence[Prediction], predictions: Sequence[Prediction]) -> list[Row]:
    """Copies of the rows of the first images, filled in."""
    triples = zip(rows, expected, predictions, strict=False)
    return [compared(dataclasses.replace(row), *pair) for row, *pair in triples]


def compared(row: Row, expected: Prediction, found: Prediction) -> Row:
    """The row with the figures of one image filled in, from the predictions of the model and of the file."""
    one, other = (measures.detections_or_proposals(each, row.size) for each in (expected, found))
    if one is not None and other is not None:
        _compare_detections(row, one, other)
    elif (one is None) != (other is None):
        row.matched = 0.0
    if expected.semantic is not None:
        _compare_semantic(row, expected, found)
    row.semantic = min(row.semantic, measures.same_segments(expected, found))
    row.extras = max(row.extras, measures.largest_difference(expected.extras, found.extras))
    return row


def timed(model: nn.Module, batch: ImageBatch) -> tuple[list[Prediction], float]:
    """The predictions for a batch, and how long they took, in milliseconds."""
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
    first, second = _matches(expected, found, row.bounds.overlap)
    row.matched = _share(expected.scores, found.scores, first, second, row.bounds.score)
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


def _share(expected: Tensor, found: Tensor, first: Tensor, second: Tensor, least: float) -> float:
    """The minimum share, of detections on both sides with scores of at least `least`, that have a match."""
    shares = [1.0]
    for scores, rows in ((expected, first), (found, second)):
        counted = scores >= least
        matches = torch.zeros(len(scores), dtype=torch.bool)
        matches[rows] = True
        if counted.any():
            shares.append(float(matches[counted].float().mean()))
    return min(shares)


def _matches(expected: Detections, found: Detections, least: float) -> tuple[Tensor, Tensor]:
    """Rows of both that are the same detection, int64 (K,) each: the greatest overlaps first, each row once."""
    overlap = geometry.geometry(expected.boxes.shape[1]).iou(expected.boxes, found.boxes)
    overlap = torch.where(expected.labels[:, None] == found.labels, overlap, 0.0)
    pairs: list[tuple[int, int]] = []
    rows, columns = torch.nonzero(overlap >= least, as_tuple=True)
    # Boxes that lie at the border of an image may be the same exactly: then scores distinguish them.
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
