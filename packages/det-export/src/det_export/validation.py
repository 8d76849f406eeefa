"""The validation set of a run: pictures of the check, and AP of the model and of its file."""

import contextlib
import itertools
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from det_core.data import compose, read_image
from det_core.engine import evaluate
from det_core.errors import ConfigError, DetError
from det_core.structures import ImageBatch, Sample
from torch import nn

from det_export.check import Agreement, Picture, Row, compared, timed
from det_export.exported import ExportedModel
from det_export.stable_topk import StableTopK

__all__ = ["add_metrics", "add_resizing", "data_of", "pictures_of"]


def data_of(detector: Any) -> Any:
    """The data of a detector's recipe, where its validation set is there; None otherwise."""
    if detector.recipe is None or "val" not in (detector.recipe.tree.get("data") or {}):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = detector.recipe.build("data")
            return data if len(data.dataset("val")) else None
    except DetError:  # its files are on another machine
        return None


def pictures_of(data: Any, count: int = 3) -> list[Picture]:
    """The first images of the validation set, with names."""
    dataset = data.dataset("val")
    return [(f"val {index}", dataset[index].image.to(torch.uint8)) for index in range(min(count, len(dataset)))]


def add_metrics(agreement: Agreement, model: nn.Module, exported: ExportedModel, data: Any, most: int) -> None:
    """Put the AP of both on the first `most` images of the validation set into `agreement`; 0 evaluates none."""
    if not most:
        return
    results = []
    for each in (exported, model):
        evaluators = data.build_evaluators("val")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            batches = itertools.islice(data.eval_loader("val", 1), most)
            order = StableTopK() if agreement.ties and each is model else contextlib.nullcontext()
            try:
                with order:
                    results.append(evaluate(each, batches, evaluators).metrics)
            except ConfigError as error:  # an image is larger than the file takes
                agreement.unmeasured = f"no AP: {error}"
                return
    agreement.images = min(most, len(data.dataset("val")))
    for name, value in results[1].items():
        if name.rpartition("/")[2] in ("AP", "AP50", "mIoU", "PQ") and value == value:
            agreement.metrics[name] = float(value), float(results[0].get(name, float("nan")))


@torch.no_grad()
def add_resizing(
    agreement: Agreement,
    model: nn.Module,
    exported: ExportedModel,
    images: Sequence[Picture],
    transforms: Sequence[Any],
) -> None:
    """Compare a file that resizes with the model behind its own transforms, on pictures as they are."""
    if not exported.metadata.resizes:
        return
    transform = compose(transforms)
    for image in images:
        name, pixels = (image.name, read_image(image)) if isinstance(image, Path) else image
        size = (int(pixels.shape[1]), int(pixels.shape[2]))
        entering = transform(Sample(image=pixels)).image
        input_size = (int(entering.shape[1]), int(entering.shape[2]))
        (expected, *_), before = timed(model, ImageBatch(pixels=entering[None], sizes=(input_size,)))
        (actual, *_), after = timed(exported, ImageBatch(pixels=pixels[None], sizes=(size,)))
        if expected.detections is not None:
            factors = torch.tensor([size[1] / input_size[1], size[0] / input_size[0]] * 2)
            moved = replace(expected.detections, boxes=expected.detections.boxes * factors, size=size)
            expected = replace(expected, detections=moved)
        agreement.resizing.append(compared(Row(name, size, milliseconds=(before, after)), expected, actual))
