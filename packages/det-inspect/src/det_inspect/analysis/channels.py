"""Check whether a model needs its images with channels in reverse order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from det_core.data import Batch
from det_core.engine.evaluate import device_of, in_eval_mode, predict
from torch import nn

from det_inspect.analysis.detection_recorder import DetectionRecorder
from det_inspect.analysis.error_analysis import analyze_errors
from det_inspect.analysis.format_issues import FormatIssue
from det_inspect.analysis.image_records import ImageRecord

__all__ = ["reversed_channels"]

_MARGIN, _FACTOR = 0.05, 1.2


def reversed_channels(
    model: nn.Module,
    batches: Iterable[Batch],
    evaluated: Mapping[int | str, ImageRecord],
    classes: Sequence[str],
    images: int = 16,
) -> FormatIssue | None:
    """An issue if AP50 of the first images is clearly higher with red and blue exchanged; None otherwise.

    Args:
        model: a `Model`, on the device to compute on.
        batches: batches of images with ground truth, as evaluated.
        evaluated: ground truth and detections of the unchanged images, by image id.
        classes: the name of each label.
        images: minimum number of images to predict, in whole batches; 16 take a few seconds and show a large effect.
    """
    device = device_of(model)
    recorder = DetectionRecorder(classes)
    with in_eval_mode(model), torch.no_grad():
        for batch in batches:
            images_rgb = batch.to(device).images
            images_bgr = replace(images_rgb, pixels=images_rgb.pixels.flip(1))
            stored = [sample.size for sample in batch.samples]
            for prediction, sample in zip(predict(model, images_bgr, stored), batch.samples, strict=True):
                if sample.id in evaluated:
                    recorder.update(prediction, sample)
            if len(recorder.image_ids) >= images:
                break
    if not recorder.image_ids:
        return None
    before = analyze_errors([evaluated[image_id] for image_id in recorder.image_ids], classes)
    after = recorder.error_analysis()
    if after is None or before.errors.ap50 is None or after.errors.ap50 is None:
        return None
    rgb, bgr = before.errors.ap50, after.errors.ap50
    if bgr < max(_FACTOR * rgb, rgb + _MARGIN):
        return None
    details = f"AP50 is {rgb:.3f} on {len(before.images)} images, but {bgr:.3f} with red and blue exchanged"
    fix = "the weights were made for the other order: set channel_order of the model, and means and deviations with it"
    return FormatIssue("channels in reverse", details, fix)
