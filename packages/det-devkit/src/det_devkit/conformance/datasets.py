"""Checks of datasets."""

import pickle
from collections.abc import Sequence
from typing import Any

import torch
from det_core.contracts import Dataset
from det_core.data import compose
from det_core.plugins import registry
from det_core.recipes import Factory
from det_core.structures import Sample, Targets
from torch import Tensor
from torchvision.transforms import v2

from det_devkit.conformance.report import Check, DoesNotApply, Failed, check
from det_devkit.conformance.roles import require_members
from det_devkit.conformance.subject import Subject
from det_devkit.conformance.tensors import difference, flat

__all__ = ["DATASET"]

_CHECKED_SAMPLES = 8


def _samples(dataset: Any) -> list[Sample]:
    """The first samples, which represent all."""
    return [dataset[index] for index in range(min(len(dataset), _CHECKED_SAMPLES))]


@check("it keeps its contract", gate=True)
def contract(subject: Subject) -> None:
    """It has a length, class names, names of evaluators, and returns Samples; at least one, so that there is something
    to check."""
    dataset = subject.make()
    require_members(dataset, Dataset, ("__len__", "__getitem__", "classes", "evaluators"))
    for name in ("classes", "evaluators"):
        value = getattr(dataset, name)
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, str) for v in value):
            raise Failed(f"{name} is {value!r:.80}", "make it a sequence of names")
    if not dataset.classes or len(set(dataset.classes)) != len(dataset.classes):
        raise Failed(f"classes are {list(dataset.classes)[:8]}", "make all class names different")
    if len(dataset) < 1:
        raise DoesNotApply("it is empty; give it an example with a few images")
    for sample in _samples(dataset):
        if not isinstance(sample, Sample):
            raise Failed(f"it gives a {type(sample).__name__}", "return det_core.structures.Sample")


@check("its samples are well formed", gate=True)
def well_formed(subject: Subject) -> None:
    """Boxes are float32 within the image, labels int64 of its classes, masks of the image's size, and ids differ."""
    dataset = subject.make()
    samples = _samples(dataset)
    if len({sample.id for sample in samples}) != len(samples):
        raise Failed("two samples have one id", "make ids unique")
    for sample in samples:
        if sample.targets is not None:
            _require_targets(sample.targets, sample, len(dataset.classes))


def _require_targets(targets: Targets, sample: Sample, classes: int) -> None:
    where = f"sample {sample.id!r}:"
    kinds = {"boxes": torch.float32, "labels": torch.int64, "keypoints": torch.float32, "crowd": torch.bool}
    kinds |= {"areas": torch.float32, "masks": torch.bool, "semantic": torch.int64}
    for name, dtype in kinds.items():
        value = getattr(targets, name)
        if isinstance(value, Tensor) and value.dtype != dtype:
            raise Failed(f"{where} {name} are {value.dtype}", f"make them {dtype}")
    if len(targets) and not 0 <= int(targets.labels.min()) <= int(targets.labels.max()) < classes:
        found = f"labels run from {int(targets.labels.min())} to {int(targets.labels.max())} with {classes} classes"
        raise Failed(f"{where} {found}", "number them from 0, in the order of classes")
    if targets.boxes.shape[1] == 4 and len(targets):
        height, width = sample.size
        corners = targets.boxes
        limit = corners.new_tensor([width, height, width, height])
        if (
            bool((corners < -1).any())
            or bool((corners > limit + 1).any())
            or bool((corners[:, 2:] < corners[:, :2]).any())
        ):
            fix = "boxes are (x0, y0, x1, y1) in pixels of the image as stored"
            raise Failed(f"{where} boxes reach out of the image of {height} x {width}, or are turned", fix)
    for name in ("masks", "semantic"):
        value = getattr(targets, name)
        if isinstance(value, Tensor) and tuple(value.shape[-2:]) != sample.size:
            raise Failed(
                f"{where} {name} have shape {tuple(value.shape)}", f"make them {sample.size} large, as the image"
            )
    if bare := [key for key in (*targets.extras, *targets.image_extras) if "/" not in key]:
        raise Failed(f"{where} the key {bare[0]!r} of an extra is not qualified", f'write "det-acme/{bare[0]}"')


@check("reading twice gives the same")
def twice(subject: Subject) -> None:
    """A sample depends on its index alone, and changes by a user stay within one sample."""
    dataset = subject.make()
    first = dataset[0]
    before = {name: tensor.clone() for name, tensor in flat(first).items()}
    for tensor in flat(first).values():
        tensor.zero_()
    if words := difference(before, flat(dataset[0]), 0.0):
        raise Failed(f"after a change to the first one, {words}", "read or copy the tensors for every sample")


@check("a pickled copy reads the same")
def pickled(subject: Subject) -> None:
    """Worker processes of the loader receive a pickle of it."""
    dataset = subject.make()
    try:
        other = pickle.loads(pickle.dumps(dataset))
    except Exception as error:
        fix = "keep no open files, locks or lambdas in it; open files when a sample is read"
        raise Failed(f"it cannot be pickled: {type(error).__name__}: {error}", fix) from error
    if len(other) != len(dataset) or list(other.classes) != list(dataset.classes):
        raise Failed("its pickle has another length or other classes", "keep its whole state in attributes")
    if words := difference(flat(dataset[0]), flat(other[0]), 0.0):
        raise Failed(f"its pickle gives another sample: {words}", "keep its whole state in attributes")


@check("its samples follow flips and resizes")
def transformed(subject: Subject) -> None:
    """Two flips restore a sample, and a resize keeps every object in place, extras included."""
    sample = next((s for s in _samples(subject.make()) if s.targets is not None and len(s.targets)), None)
    if sample is None or sample.targets is None:
        raise DoesNotApply("none of its first samples contains an object")
    flip = compose([v2.RandomHorizontalFlip(p=1)])
    again = flip(flip(sample))
    if words := difference(flat(sample.targets), flat(again.targets), 1e-4):
        fix = "make everything with coordinates a tv_tensor with its own kernels (register_kernel)"
        raise Failed(f"flipped twice, {words}", fix)
    height, width = sample.size
    resized = compose([v2.Resize((height + 8, width + 8))])(sample)
    if resized.targets is None or len(resized.targets) != len(sample.targets):
        raise Failed("a resize loses objects", "keep one row per object in every field and extra")


@check("its evaluators exist")
def evaluated(subject: Subject) -> None:
    """Every name in `evaluators` leads to an evaluator that can be built with its classes."""
    dataset = subject.make()
    if not dataset.evaluators:
        raise DoesNotApply("it names none")
    for name in dataset.evaluators:
        Factory(registry.find("evaluators", name, "evaluators").load())(classes=dataset.classes)


DATASET: tuple[Check, ...] = (contract, well_formed, twice, pickled, transformed, evaluated)
