"""Whether a model would rather have its images with the channels the other way round."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from det_core.data import Batch
from det_core.engine.evaluate import device_of, in_eval_mode, predict
from torch import nn

from det_inspect.analysis.detection_recorder import DetectionRecorder
from det_inspect.analysis.diagnosis import diagnose
from det_inspect.analysis.image_records import ImageRecord
from det_inspect.analysis.suspicions import Suspicion

__all__ = ["reversed_channels"]

_MARGIN, _FACTOR = 0.05, 1.2


def reversed_channels(
    model: nn.Module,
    batches: Iterable[Batch],
    evaluated: Mapping[int | str, ImageRecord],
    classes: Sequence[str],
    images: int = 16,
) -> Suspicion | None:
    """A suspicion if AP50 is clearly better on the first images when these are given as BGR; it predicts them once.

    Args:
        model: a `Model`, on the device to compute on.
        batches: batches of images with ground truth, as evaluated.
        evaluated: predictions on the unchanged images, by image id.
        classes: the name of each label.
        images: how many to predict, at least.
    """
    device = device_of(model)
    turned = DetectionRecorder(classes)
    with in_eval_mode(model), torch.no_grad():
        for batch in batches:
            given = batch.to(device).images
            flipped = replace(given, pixels=given.pixels.flip(1))
            stored = [sample.size for sample in batch.samples]
            for prediction, sample in zip(predict(model, flipped, stored), batch.samples, strict=True):
                if sample.id in evaluated:
                    turned.update(prediction, sample)
            if len(turned.image_ids) >= images:
                break
    if not turned.image_ids:
        return None
    before = diagnose([evaluated[image_id] for image_id in turned.image_ids], classes)
    after = turned.diagnosis()
    if after is None or before.errors.ap50 is None or after.errors.ap50 is None:
        return None
    rgb, bgr = before.errors.ap50, after.errors.ap50
    if bgr < max(_FACTOR * rgb, rgb + _MARGIN):
        return None
    evidence = f"AP50 is {rgb:.3f} on {len(before.images)} images, but {bgr:.3f} if red and blue change places"
    fix = "the weights were made for the other order: set channel_order of the model, and means and deviations with it"
    return Suspicion("channels in reverse", evidence, fix)
