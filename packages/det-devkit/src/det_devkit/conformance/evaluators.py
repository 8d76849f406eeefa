"""Checks of evaluators."""

import math
import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from det_core.contracts import Analysis, Evaluator
from det_core.errors import DetError
from det_core.ops.masks import rasterize
from det_core.plugins import registry
from det_core.structures import Detections, PanopticMap, Prediction, Proposals, Sample, SemanticMap, Targets
from torch import Tensor

from det_devkit.conformance.report import Check, Failed, check
from det_devkit.conformance.roles import require_members
from det_devkit.conformance.subject import Subject
from det_devkit.conformance.synthetic import CLASSES, scene

__all__ = ["EVALUATOR", "panoptic_map"]

_NUM_IMAGES = 4


def _material(subject: Subject) -> tuple[Sequence[str], list[Sample]]:
    """Classes and samples of a dataset of the plugin that names this evaluator, otherwise the kit's own images."""
    for other in subject.siblings:
        if other.kind != "datasets":
            continue
        try:
            dataset = other.make()
            names = [f"{subject.plugin}/{subject.name}", subject.name]
            if any(registry.same(each, name) for each in dataset.evaluators for name in names):
                return dataset.classes, [dataset[index] for index in range(min(len(dataset), _NUM_IMAGES))]
        except (Failed, DetError):
            continue  # reported by the checks of the dataset
    return CLASSES, list(scene(images=_NUM_IMAGES, annotate=subject.annotate).samples)


def _evaluator_after(subject: Subject, classes: Sequence[str], pairs: Sequence[tuple[Prediction, Sample]]) -> Any:
    """A new evaluator, updated with these predictions."""
    evaluator = subject.make(parent_arguments={"classes": classes})
    for prediction, sample in pairs:
        evaluator.update(prediction, sample)
    return evaluator


def _perfect(subject: Subject, sample: Sample) -> Prediction:
    """The ground truth as a prediction, with the additions of the plugin."""
    prediction = perfect(sample)
    return prediction if subject.perfect is None else subject.perfect(prediction, sample)


def perfect(sample: Sample) -> Prediction:
    """The ground truth as a prediction."""
    if sample.targets is None:
        return nothing(sample)
    targets = sample.targets.without_crowd()
    count = len(targets)
    masks = (
        targets.masks
        if isinstance(targets.masks, Tensor) or targets.masks is None
        else rasterize(targets.masks, sample.size)
    )
    keypoints = targets.keypoints
    if keypoints is not None:
        keypoints = torch.cat((keypoints[..., :2], torch.ones_like(keypoints[..., :1])), dim=-1)
    scores = torch.linspace(1, 0.9, count)
    detections = Detections(
        boxes=targets.boxes,
        labels=targets.labels,
        scores=scores,
        size=sample.size,
        masks=masks,
        keypoints=keypoints,
        extras=targets.extras,
    )
    proposals = Proposals(boxes=targets.boxes, logits=scores)
    return Prediction(
        detections=detections,
        proposals=proposals,
        semantic=_semantic(targets),
        panoptic=panoptic_map(replace(targets, masks=masks)),
        extras=targets.image_extras,
    )


def nothing(sample: Sample) -> Prediction:
    """An empty prediction."""
    boxes, numbers = torch.zeros(0, 4), torch.zeros(0)
    labels = torch.zeros(0, dtype=torch.int64)
    masks = torch.zeros((0, *sample.size), dtype=torch.bool)
    points = (
        sample.targets.keypoints[:0] if sample.targets is not None and sample.targets.keypoints is not None else None
    )
    extras = {} if sample.targets is None else {key: value[:0] for key, value in sample.targets.extras.items()}
    detections = Detections(
        boxes=boxes, labels=labels, scores=numbers, size=sample.size, masks=masks, keypoints=points, extras=extras
    )
    semantic = None
    if sample.targets is not None and sample.targets.semantic is not None:
        semantic = SemanticMap(logits=-_semantic(sample.targets).logits)  # type: ignore[union-attr]
    panoptic = PanopticMap(ids=torch.zeros(sample.size, dtype=torch.int32), segments=())
    proposals = Proposals(boxes=boxes, logits=numbers)
    return Prediction(detections=detections, proposals=proposals, semantic=semantic, panoptic=panoptic)


def panoptic_map(targets: Targets) -> PanopticMap | None:
    """Objects with masks as things, later ones on top, and the classes of the remaining pixels as stuff.

    Without a semantic map there are things only; None without masks of image size.
    """
    if not isinstance(targets.masks, Tensor):
        return None
    ids = torch.zeros(targets.masks.shape[1:], dtype=torch.int32)
    segments: list[dict[str, Any]] = []
    for mask, label in zip(targets.masks, targets.labels.tolist(), strict=True):
        segments.append({"id": len(segments) + 1, "label": label, "is_thing": True, "score": 1.0})
        ids[mask] = len(segments)
    if targets.semantic is None:
        return PanopticMap(ids=ids, segments=segments)
    free = ids == 0
    for label in targets.semantic[free & (targets.semantic != 255)].unique().tolist():
        segments.append({"id": len(segments) + 1, "label": label, "is_thing": False})
        ids[free & (targets.semantic == label)] = len(segments)
    return PanopticMap(ids=ids, segments=segments)


def _semantic(targets: Targets) -> SemanticMap | None:
    if targets.semantic is None:
        return None
    labels = torch.where(targets.semantic == 255, 0, targets.semantic)
    classes = max(int(labels.max()) + 1, 2)
    return SemanticMap(logits=torch.nn.functional.one_hot(labels, classes).permute(2, 0, 1).float())


@check("it keeps its contract", gate=True)
def contract(subject: Subject) -> None:
    """It can be built with the names of classes, and has update, state, merge and result."""
    require_members(_evaluator_after(subject, CLASSES, ()), Evaluator, ("update", "state", "merge", "result"))


@check("its metrics are named and finite", gate=True)
def metrics(subject: Subject) -> None:
    """For perfect predictions and for empty ones, result() returns {"task/metric": number}, no NaN, repeatably."""
    classes, samples = _material(subject)
    right = [(_perfect(subject, sample), sample) for sample in samples]
    for pairs in (right, [(nothing(sample), sample) for sample in samples]):
        evaluator = _evaluator_after(subject, classes, pairs)
        result = evaluator.result()
        _require_metrics(result)
        if evaluator.result() != result:
            raise Failed("a second call gives other metrics", "change nothing in result()")
    evaluator = _evaluator_after(subject, classes, right)
    if not isinstance(evaluator, Analysis) and not evaluator.result():  # an analysis explains the metrics of others
        raise Failed("it gives no metrics for perfect predictions", "return at least one")


@check("perfect predictions are better than none")
def better(subject: Subject) -> None:
    """At least one metric is higher for the ground truth as prediction, or defined for it only; higher is better."""
    classes, samples = _material(subject)
    evaluator = _evaluator_after(subject, classes, [(_perfect(subject, sample), sample) for sample in samples])
    if isinstance(evaluator, Analysis):
        return
    high = evaluator.result()
    low = _evaluator_after(subject, classes, [(nothing(sample), sample) for sample in samples]).result()
    if not any(name not in low or value > low[name] for name, value in high.items()):
        values = ", ".join(f"{name} {value:.3g} and {low[name]:.3g}" for name, value in list(high.items())[:4])
        raise Failed(f"perfect predictions and none give {values}", "return a metric that increases with quality")


@check("merging two halves gives the whole")
def merged(subject: Subject) -> None:
    """Two processes evaluate half of the images each; their pickled and merged states give the same metrics as one."""
    classes, samples = _material(subject)
    pairs = [(_perfect(subject, s) if n % 2 else nothing(s), s) for n, s in enumerate(samples)]
    whole = _evaluator_after(subject, classes, pairs).result()
    first, second = _evaluator_after(subject, classes, pairs[::2]), _evaluator_after(subject, classes, pairs[1::2])
    try:
        states = [pickle.loads(pickle.dumps(each.state())) for each in (first, second)]
    except Exception as error:
        raise Failed(f"its state cannot be pickled: {error}", "keep numbers, tensors and plain containers") from error
    for evaluator, order in ((first, states), (subject.make(parent_arguments={"classes": classes}), states[::-1])):
        evaluator.merge(order)
        halves = evaluator.result()
        if halves.keys() != whole.keys() or any(not math.isclose(halves[n], v, abs_tol=1e-6) for n, v in whole.items()):
            found = f"{_some(halves)} instead of {_some(whole)}"
            raise Failed(f"merged, it gives {found}", "let merge replace the added images by those of all states")


@check("it works without images or objects")
def empty(subject: Subject) -> None:
    """Without images, and for an image without objects and detections, result() returns metrics or {}, no NaN."""
    classes, samples = _material(subject)
    _require_metrics(_evaluator_after(subject, classes, ()).result())
    sample = samples[0]
    if sample.targets is not None:
        bare = Sample(image=sample.image, targets=sample.targets[:0], id=sample.id)
        _require_metrics(_evaluator_after(subject, classes, [(nothing(bare), bare)]).result())


def _require_metrics(metrics: Any) -> None:
    if not isinstance(metrics, dict):
        raise Failed(f"result() gives a {type(metrics).__name__}", 'return {"task/metric": number}')
    for name, value in metrics.items():
        if not isinstance(name, str) or "/" not in name:
            raise Failed(f"a metric is called {name!r}", 'call it "task/metric", such as "bbox/AP"')
        if not isinstance(value, float) or not math.isfinite(value):
            fix = "return floats; leave out undefined metrics, with the reason in `notes`"
            raise Failed(f"{name} is {value!r}", fix)


def _some(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in list(metrics.items())[:3]) or "nothing"


EVALUATOR: tuple[Check, ...] = (contract, metrics, better, merged, empty)
