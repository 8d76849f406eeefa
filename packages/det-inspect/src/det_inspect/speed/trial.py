"""The faster of two precisions that agrees with the model, by a trial on a few images."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from det_core.predict import Detector

from det_inspect.speed.agreement import Predicted, agreement_of
from det_inspect.speed.child import predicted

__all__ = ["AGREEMENT", "computes_in_bf16", "fastest"]

AGREEMENT = 0.99
"""Share of the detections that must be the same in bf16."""


def fastest(detector: Detector, images: Sequence[Any], options: Mapping[str, Any]) -> Detector:
    """The copy of `Detector.optimize` in fp32 or bf16, whichever is faster on `images` and agrees with the detector.

    Agreement is by `agreement_of`, of detections above the threshold of `options`, or else of the detector. Images are
    predicted one at a time, once before they are timed.

    Args:
        detector: detector in the form that `Detector.load` returns.
        images: a few, of any kind that a detector takes.
        options: arguments of `Detector.optimize` but images and precision.

    Returns:
        A detector whose `optimization` has the figures.
    """
    start = time.perf_counter()
    threshold = options.get("threshold") or detector.threshold
    expected, before = _trial(detector, images, threshold)
    chosen, best = "fp32", detector.optimize(precision="fp32", **options)
    _, seconds = _trial(best, images, threshold)
    figures = [f"fp32: {before / seconds:.2f} times as fast"]
    if computes_in_bf16(detector.device):
        half = detector.optimize(precision="bf16", **options)
        predictions, seconds_of_half = _trial(half, images, threshold)
        matched = agreement_of(expected, predictions).matched
        figures.append(f"bf16: {before / seconds_of_half:.2f} times, {matched:.1%} of the detections agree")
        if matched >= AGREEMENT and seconds_of_half < seconds:
            chosen, best, seconds = "bf16", half, seconds_of_half
    else:
        figures.append(f"bf16: not tried, {detector.device} does not compute in it")
    each = f"{seconds / len(images):.2f} s an image, {before / len(images):.2f} before"
    count = f"{len(images)} image{'s' * (len(images) != 1)}"
    best.optimization = f"{chosen}: {each} ({'; '.join(figures)}; {time.perf_counter() - start:.0f} s on {count})"
    return best


def computes_in_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16; where it does not, they are emulated and slow."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cpu: Any = torch.cpu
    return device.type == "cpu" and bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())


def _trial(detector: Detector, images: Sequence[Any], threshold: float) -> tuple[list[Predicted], float]:
    """The predictions for all images, and the seconds of a second pass over them."""
    predictions = [predicted(detector(image, threshold)) for image in images]
    start = time.perf_counter()
    for image in images:
        detector(image, threshold)
    return predictions, time.perf_counter() - start
