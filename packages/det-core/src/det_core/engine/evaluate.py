"""Evaluation of a model on a dataset, by one process or several."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from det_core.contracts import Evaluator, SegmentMaker
from det_core.data import Batch
from det_core.engine.distributed import broadcast, gather, rank_and_world_size
from det_core.engine.nan_checks import capture_features, fix_for, non_finite
from det_core.engine.postprocessing import rescale
from det_core.errors import DataError
from det_core.ops.global_batch import global_batch
from det_core.structures import ImageBatch, Prediction, Size

__all__ = ["Evaluation", "Precision", "autocast", "evaluate", "predict", "result_of"]

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Evaluation:
    """How well a model did.

    Attributes:
        metrics: "bbox/AP50" and so on, and, if asked for, the mean "loss" of an image and its parts.
        notes: remarks on them: metrics left out and why, images that could not be read, or whose
            features are NaN or infinite.
        threshold: the score above which F1 is best, by the first evaluator that has one; else None.
    """

    metrics: dict[str, float]
    notes: tuple[str, ...] = ()
    threshold: float | None = None


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    evaluators: Sequence[Evaluator],
    losses: bool = False,
    precision: Precision = "fp32",
    alone: bool = False,
) -> Evaluation:
    """Predict every image once, and evaluate the predictions in pixels of the stored images.

    The model is left in the mode that it was in, and so are torch's random numbers: sampling in the losses draws the
    same numbers in each evaluation, so that two of them can be compared.

    In a process group of torch.distributed every process must call this, each with its own share of the images
    (`EvalLoader(rank=..., world_size=...)`). Rank 0 merges the states of all evaluators, and all processes return its
    metrics: those of one process with all images. Evaluators of other processes keep their share.

    Args:
        model: a `Model`, on the device to compute on.
        batches: an `EvalLoader`, or anything else that gives its batches.
        evaluators: new ones; images of earlier calls count too. If one has `notes`, they give by name the reason why a
            metric is not there.
        losses: also compute the losses, which costs a second forward pass.
        precision: "bf16" and "fp16" predict under autocast.
        alone: the images of this process are all images, also in a process group.

    Raises:
        DataError: losses are asked for, but an image has no ground truth.
    """
    device = device_of(model)
    share = _Share()
    sums: dict[str, Tensor] = {}
    with in_eval_mode(model), torch.no_grad(), fixed_seed(device), capture_features(model) as features:
        for batch in batches:
            share.notes += [f"left out: {reason}" for reason in batch.skipped]
            moved = batch.to(device, non_blocking=True)
            original_sizes = [sample.size for sample in batch.samples]
            predictions = predict(model, moved.images, original_sizes, precision)
            for row, (prediction, sample) in enumerate(zip(predictions, batch.samples, strict=True)):
                if values := non_finite(features, row, prediction):
                    share.non_finite.append(f"{sample.path or sample.id}: {values}")
                for evaluator in evaluators:
                    evaluator.update(prediction, sample)
            if losses:
                share.images += len(batch)
                for name, value in _losses(model, moved, precision).items():
                    sums[name] = sums.get(name, torch.zeros((), device=device)) + value * len(batch)
    share.losses = {name: value.item() for name, value in sums.items()}
    return _merged(evaluators, share, model, alone or rank_and_world_size()[1] == 1)


@dataclass
class _Share:
    """Results of one process beside the states of its evaluators; `losses` are sums over `images`."""

    notes: list[str] = field(default_factory=list)
    non_finite: list[str] = field(default_factory=list)
    losses: dict[str, float] = field(default_factory=dict)
    images: int = 0


def _merged(evaluators: Sequence[Evaluator], share: _Share, model: nn.Module, alone: bool) -> Evaluation:
    """The evaluation of all images of all processes, computed by rank 0."""
    if not alone:
        for evaluator in evaluators:
            states = gather(evaluator.state())
            if states is not None:
                evaluator.merge(states)
    shares = [share] if alone else gather(share)
    if shares is None:
        return broadcast(Evaluation({}))
    result = result_of(evaluators)
    images = sum(each.images for each in shares)
    names = dict.fromkeys(name for each in shares for name in each.losses)
    means = {name: sum(each.losses.get(name, 0.0) for each in shares) / images for name in names}
    metrics = result.metrics | ({"loss": sum(means.values()), **means} if means else {})
    notes = [note for each in shares for note in each.notes]
    if invalid := [image for each in shares for image in each.non_finite]:
        plural = "1 image" if len(invalid) == 1 else f"{len(invalid)} images, such as"
        notes.append(f"nothing can be found in {plural} {invalid[0]}; {fix_for(model)}")
    result = replace(result, metrics=metrics, notes=(*notes, *result.notes))
    return result if alone else broadcast(result)


def result_of(evaluators: Sequence[Evaluator]) -> Evaluation:
    """The metrics of evaluators that have all images, the reasons why some are not there, and the threshold."""
    metrics = {name: value for evaluator in evaluators for name, value in evaluator.result().items()}
    reasons = [pair for evaluator in evaluators for pair in getattr(evaluator, "notes", {}).items()]
    thresholds = (getattr(evaluator, "threshold", None) for evaluator in evaluators)
    threshold = next((each for each in thresholds if each is not None), None)
    return Evaluation(metrics, tuple(f"no {name}: {reason}" for name, reason in reasons), threshold)


def predict(
    model: nn.Module, images: ImageBatch, original_sizes: Sequence[Size], precision: Precision = "fp32"
) -> list[Prediction]:
    """The prediction of each image, in pixels of the stored images.

    Args:
        model: a `Model` on the device of `images`.
        images: resized from the stored ones, in no other way changed.
        original_sizes: (height, width) of each image as stored.
        precision: "bf16" and "fp16" run under autocast.
    """
    with autocast(images.pixels.device, precision):
        predictions: list[Prediction] = model(images)
    return [
        _at_size(model, prediction, input_size, size)
        for prediction, input_size, size in zip(predictions, images.sizes, original_sizes, strict=True)
    ]


def _at_size(model: nn.Module, prediction: Prediction, input_size: Size, original_size: Size) -> Prediction:
    """A prediction in pixels of the stored image, with segments merged again at its size if the model can."""
    if input_size == original_size or not isinstance(model, SegmentMaker):
        return rescale(prediction, input_size, original_size)
    # Segments are merged again below, so they are not rescaled.
    return model.with_segments(rescale(replace(prediction, panoptic=None), input_size, original_size))


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a forward pass runs at `precision`."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=precision != "fp32")


def device_of(model: nn.Module) -> torch.device:
    """Where the parameters of `model` are; the CPU if it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _losses(model: nn.Module, batch: Batch, precision: Precision) -> dict[str, Tensor]:
    if batch.targets is None:
        where = str(next((path for path in batch.paths if path), batch.ids))
        fix = "set train.validation_loss=false, or evaluate on annotated images"
        raise DataError(where, "has no ground truth to compute a loss from", fix=fix)
    device = batch.images.pixels.device
    # The random numbers of an image are its own, whichever images share its batch.
    keys = [(0, position) for position in batch.positions]
    images = global_batch(keys, device) if keys else nullcontext()
    with autocast(device, precision), images:
        losses: dict[str, Tensor] = model(batch.images, batch.targets)
    return losses


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation, and afterwards each module in its mode of before."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def fixed_seed(device: torch.device) -> Iterator[None]:
    """The random numbers of seed 0, and afterwards those of before go on."""
    if device.type == "cpu":
        forked = torch.random.fork_rng(devices=[])
    else:
        forked = torch.random.fork_rng(devices=[device], device_type=device.type)
    with forked:
        torch.manual_seed(0)
        yield
