"""The check of an exported file: its predictions on pictures are matched to those of the model and compared."""

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
    """Bounds within which a file agrees with its model.

    Attributes:
        boxes, scores: largest differences of matched boxes, in pixels, and of their scores.
        matched: minimum fraction of detections with a match.
        keypoints: largest difference of keypoints, in pixels.
        masks: minimum of the mean IoU of masks.
        semantic: minimum fraction of pixels with the same class.
        overlap: minimum IoU of two boxes that match.
        score: detections below this score, of the model or the file, need no match.
        extras: largest difference of extras, relative to the largest value.
        metric: largest AP by which the file may be below the model, in [0, 1].
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
    """Comparison of the file and the model on one image at one size.

    Attributes:
        image, size: name of the image, and its (height, width) in pixels.
        expected, actual: number of detections of the model and of the file.
        matched: fraction of both that have a match: same label, IoU at least 0.9; 1 if both have no detections.
        boxes, scores, keypoints: largest differences of matched boxes and keypoints, in pixels, and of their scores.
        masks: mean IoU of matched masks, thresholded at 0.5; 1 without masks.
        semantic: fraction of pixels with the same class, the minimum of semantic maps and segments; 1 without both.
        extras: largest difference of the extras of matches, relative to the largest value of each extra.
        milliseconds: time of the model and of the file, in milliseconds.
        ties: whether the file agrees only with the model under `StableTopK`, which fixes the order of equal scores.
        problem: error of the file; "" if it ran.
        bounds: bounds within which the values agree.
    """

    image: str
    size: Size
    expected: int = 0
    actual: int = 0
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
    """Results of the check.

    Attributes:
        rows: comparisons, one for each picture and size.
        megabytes: size of the file in MB (10^6 bytes).
        resizing: comparisons of a file that resizes with the model and its own transforms; not part of the verdict.
        metrics: name of each AP -> its values for the model and for the file; empty without a validation set.
        images: number of evaluated images of the validation set.
        metric_bound: largest AP by which the file may be below the model, in [0, 1].
        unmeasured: why there is no AP although there is a validation set; "" otherwise.
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
        accurate = all(actual >= expected - self.metric_bound for expected, actual in self.metrics.values())
        return bool(self.rows) and all(row.agrees for row in self.rows) and accurate

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
        metadata = {"agrees": self.agrees, **worst, **least, "megabytes": self.megabytes, "rows": rows}
        metadata |= {"resizing": resizing} if resizing else {}
        return metadata | ({"metrics": self.metrics, "images": self.images} if self.metrics else {})


def _as_dict(row: Row) -> dict[str, Any]:
    values = dataclasses.asdict(row)
    del values["bounds"]
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }


def shipped() -> list[Path]:
    """The example pictures of this package, small and of different kinds."""
    return sorted((Path(__file__).parent / "pictures").glob("*.png"))


def pictures(folder: Path | None) -> list[Path]:
    """The first three images of a folder, by name; the example pictures of the package for None.

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
    size_factors = [(0.73, 0.91), (1.31, 0.83), (0.57, 0.61)]
    sizes = [tuple(int(side * f) for side, f in zip(example, factors, strict=True)) for factors in size_factors]
    return [
        (min(max(h, least[0]), limit[0]), min(max(w, least[1]), limit[1] if w != example[1] else limit[1] - 1))
        for h, w in sizes
    ]


def _sizes_of(rule: Mapping[str, Any]) -> list[Size]:
    """Sizes of images that a file with a resizing step does not change."""
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
        model: the exported model, in evaluation mode on the CPU.
        exported: the model loaded from the file.
        images: image files, or pairs of a name and pixels uint8 (3, H, W).
        sizes: (height, width) that each image is resized to.
        path: path of the file, for its size in bytes.
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
    """The row of an image; for files with a batch dimension, also the rows of its mirror image and of a black image."""
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


def compared(row: Row, expected: Prediction, actual: Prediction) -> Row:
    """The row, completed with the comparison of the predictions of the model and of the file."""
    one, other = (measures.detections_or_proposals(each, row.size) for each in (expected, actual))
    if one is not None and other is not None:
        _compare_detections(row, one, other)
    elif (one is None) != (other is None):
        row.matched = 0.0
    if expected.semantic is not None:
        _compare_semantic(row, expected, actual)
    row.semantic = min(row.semantic, measures.same_segments(expected, actual))
    row.extras = max(row.extras, measures.largest_difference(expected.extras, actual.extras))
    return row


def timed(model: nn.Module, batch: ImageBatch) -> tuple[list[Prediction], float]:
    """The predictions for a batch, and the time in milliseconds."""
    start = time.perf_counter()
    predictions = model(batch)
    return predictions, (time.perf_counter() - start) * 1000


def _compare_semantic(row: Row, expected: Prediction, actual: Prediction) -> None:
    if expected.semantic is None or actual.semantic is None:
        row.semantic = 0.0
        return
    one, other = expected.semantic.logits, actual.semantic.logits
    row.semantic = float((one.argmax(0) == other.argmax(0)).float().mean()) if one.shape == other.shape else 0.0


def _compare_detections(row: Row, expected: Detections, actual: Detections) -> None:
    row.expected, row.actual = len(expected), len(actual)
    first, second = _matches(expected, actual, row.bounds.overlap)
    row.matched = _share(expected.scores, actual.scores, first, second, row.bounds.score)
    if not len(first):
        return
    one, other = expected[first], actual[second]
    row.boxes = float((one.boxes - other.boxes).abs().max())
    row.scores = float((one.scores - other.scores).abs().max())
    if one.keypoints is not None:
        row.keypoints = (
            float("inf") if other.keypoints is None else float((one.keypoints - other.keypoints)[..., :2].abs().max())
        )
    row.extras = measures.largest_difference(one.extras, other.extras)
    if one.masks is not None:
        row.masks = measures.overlap(one.masks, other.masks)


def _share(expected: Tensor, actual: Tensor, first: Tensor, second: Tensor, min_score: float) -> float:
    """The fraction of detections with scores of at least `min_score` that have a match; the lower of both sides."""
    shares = [1.0]
    for scores, rows in ((expected, first), (actual, second)):
        counted = scores >= min_score
        matches = torch.zeros(len(scores), dtype=torch.bool)
        matches[rows] = True
        if counted.any():
            shares.append(float(matches[counted].float().mean()))
    return min(shares)


def _matches(expected: Detections, actual: Detections, min_iou: float) -> tuple[Tensor, Tensor]:
    """Matching rows of both, int64 (K,) each: greedily by descending IoU, each row once."""
    overlap = geometry.geometry(expected.boxes.shape[1]).iou(expected.boxes, actual.boxes)
    overlap = torch.where(expected.labels[:, None] == actual.labels, overlap, 0.0)
    pairs: list[tuple[int, int]] = []
    rows, columns = torch.nonzero(overlap >= min_iou, as_tuple=True)
    # Boxes that lie at the border of an image may be the same exactly: then scores distinguish them.
    apart = (expected.scores[rows] - actual.scores[columns]).abs()
    order = (overlap[rows, columns] - apart / 1000).argsort(descending=True)
    matched: tuple[set[int], set[int]] = (set(), set())
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in matched[0] and column not in matched[1]:
            matched[0].add(row)
            matched[1].add(column)
            pairs.append((row, column))
    rows_and_columns = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    return rows_and_columns[:, 0], rows_and_columns[:, 1]
