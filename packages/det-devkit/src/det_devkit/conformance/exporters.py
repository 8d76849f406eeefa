"""Checks of exporters."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from det_core.contracts import Exporter, Model
from det_core.errors import DetError
from det_core.structures import ImageBatch, Prediction
from torch import nn

from det_devkit.conformance.modules import require_same
from det_devkit.conformance.outputs import require_each
from det_devkit.conformance.placeholders import placeholder
from det_devkit.conformance.report import Check, DoesNotApply, Failed, check
from det_devkit.conformance.roles import require_members
from det_devkit.conformance.subject import Subject
from det_devkit.conformance.synthetic import scene
from det_devkit.conformance.tensors import flat

__all__ = ["EXPORTER"]


def _models(subject: Subject) -> Iterator[nn.Module]:
    """The plugin's own models, then the kit's."""
    for other in subject.siblings:
        if other.kind == "models":
            try:
                yield other.make().eval()
            except (Failed, DetError):
                continue  # reported by the checks of the model
    torch.manual_seed(0)
    make = placeholder("model", Model)
    if make is not None:
        yield _without_ties(make().eval())


def _without_ties(model: nn.Module) -> nn.Module:
    """The kit's model with scores and boxes that are well separated: with its initial weights all anchors are
    nearly equal, so that rounding would decide the result of NMS."""
    for name, module in model.named_modules():
        if name.endswith(("objectness_logits", "anchor_deltas")) and isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=1.0)
    return model


def _written(subject: Subject, exporter: Any, batch: ImageBatch, folder: str) -> tuple[nn.Module, Path]:
    """The first model that the exporter accepts, and its file."""
    refused = []
    for model in _models(subject):
        try:
            return model, exporter.export(model, batch, Path(folder) / "model")
        except DetError as error:
            refused.append(str(error))
    raise DoesNotApply(f"it accepts none of the available models: {'; '.join(dict.fromkeys(refused))}")


@check("it keeps its contract", gate=True)
def contract(subject: Subject) -> None:
    """It has suffixes, also as attribute of its class, about, trust, export and load."""
    exporter = subject.make()
    require_members(exporter, Exporter, ("suffixes", "about", "trust", "export", "load"))
    suffixes = getattr(type(exporter), "suffixes", ())
    good = not isinstance(suffixes, str) and all(isinstance(each, str) and each[:1] == "." for each in suffixes)
    if not (suffixes and good):
        raise Failed(f"the suffixes of its class are {suffixes!r}", 'write `suffixes = (".onnx",)` in the class')


@check("the file predicts what the model predicts")
def faithful(subject: Subject) -> None:
    """A model of the plugin, or the kit's, is written; loaded by a new exporter, it makes the same predictions."""
    batch = scene(images=1).batch
    with tempfile.TemporaryDirectory() as folder:
        model, path = _written(subject, subject.make(), batch, folder)
        if not isinstance(path, Path) or not path.exists():
            raise Failed(f"export returns {path!r}, which is no file", "return the path of what was written")
        loaded = subject.make().load(path)
        for inputs in (batch, ImageBatch(pixels=255 - batch.pixels, sizes=batch.sizes)):
            with torch.no_grad():
                expected, predictions = model(inputs), loaded(inputs)
            require_each(predictions, Prediction, len(inputs), "load")
            fix = "write the weights and constants of the model into the file, and decode as it does"
            expected_tensors, tensors = [flat(each) for each in expected], [flat(each) for each in predictions]
            require_same(expected_tensors, tensors, "the file predicts something else", fix, 1e-3)


@check("the model is unchanged")
def unchanged(subject: Subject) -> None:
    """Exporting changes neither weights nor mode of the model, nor the example."""
    batch = scene(images=1).batch
    pixels = batch.pixels.clone()
    with tempfile.TemporaryDirectory() as folder:
        for model in _models(subject):
            before = {name: value.clone() for name, value in model.state_dict().items()}
            model.train()
            try:
                subject.make().export(model, batch, Path(folder) / "model")
            except DetError:
                continue
            after = model.state_dict()
            same = before.keys() == after.keys() and all(
                torch.equal(value, after[name]) for name, value in before.items()
            )
            if not same or not model.training or not torch.equal(pixels, batch.pixels):
                what = "the weights" if not same else "the mode" if not model.training else "the example"
                raise Failed(f"it changes {what}", "work on copy.deepcopy(model)")
            return
    raise DoesNotApply("it accepts none of the available models")


EXPORTER: tuple[Check, ...] = (contract, faithful, unchanged)
