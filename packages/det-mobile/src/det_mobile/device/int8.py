"""int8 networks for XNNPACK, through torchao: weights per channel, activations per tensor, all else in float."""

import copy
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from det_core.errors import DataError
from det_export.quantize import LayerReport, QuantizationReport, layers
from torch import Tensor, fx, nn

from det_mobile.device.lowering import graph_of

__all__ = ["quantized"]

_CLIPPING = (torch.ops.aten.hardtanh.default, torch.ops.aten.hardtanh_.default)


def quantized(
    networks: dict[str, nn.Module],
    examples: dict[str, tuple[Tensor, ...]],
    pictures: Iterable[Any],
    detector_on: Callable[[dict[str, nn.Module]], Callable[[Any], None]],
    others: Iterable[Any] = (),
) -> tuple[dict[str, nn.Module], QuantizationReport]:
    """The networks in int8, calibrated by running the whole detector with observers in their place, and a report.

    Args:
        networks: network of each method, by name.
        examples: example inputs of each method, by name.
        pictures: calibration pictures; at least one.
        detector_on: function from networks to a function that runs the detector with them on a picture.
        others: pictures for the report, which has the fraction of inputs outside the calibrated ranges.

    Raises:
        DataError: there are no calibration pictures.
    """
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    prepared: dict[str, nn.Module] = {}
    for name, network in networks.items():
        with torch.no_grad():
            prepared[name] = prepare_pt2e(graph_of(network.eval(), examples[name]), _quantizer())
    observe, count = detector_on(prepared), 0
    with torch.no_grad():
        for picture in pictures:
            observe(picture)
            count += 1
    if not count:
        raise DataError("int8", "there are no pictures to calibrate on", fix="name a folder: --calibrate FOLDER")
    copied = copy.deepcopy(prepared)
    report = QuantizationReport(_layers(copied, others, detector_on(copied)), count)
    return {name: convert_pt2e(each) for name, each in prepared.items()}, report


def _quantizer() -> Any:
    """The quantizer of XNNPACK, but for ReLU6 after a layer: the range is that of its output, 0 to 6.

    The library takes the range of the layer's output before clipping, which wastes most of the 256 steps.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation

    class Quantizer(XNNPACKQuantizer):  # type: ignore[misc,unused-ignore]
        def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
            annotated: fx.GraphModule = super().annotate(model)
            for node, _ in layers(annotated):
                annotation, users = node.meta.get("quantization_annotation"), list(node.users)
                if annotation is not None and len(users) == 1 and users[0].target in _CLIPPING:
                    moved = QuantizationAnnotation(output_qspec=annotation.output_qspec, _annotated=True)
                    annotation.output_qspec = None
                    users[0].meta["quantization_annotation"] = moved
            return annotated

    return Quantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))


def _layers(prepared: dict[str, Any], pictures: Iterable[Any], observe: Callable[[Any], None]) -> list[LayerReport]:
    """The layers of all networks, each with the fraction of its inputs outside its calibrated range."""
    reports = []
    for method, graph in prepared.items():
        for node, name in layers(graph):
            report = LayerReport(f"{method}.{name}")
            reports.append(report)
            observer = node.args[0]
            if isinstance(observer, fx.Node) and observer.op == "call_module":
                hook = partial(_count_outside, report)
                graph.get_submodule(str(observer.target)).register_forward_pre_hook(hook)
    with torch.no_grad():
        for picture in pictures:
            observe(picture)
    return reports


def _count_outside(report: LayerReport, observer: Any, inputs: tuple[Tensor, ...]) -> None:
    """Count inputs outside the range before the observer widens it; the largest fraction of a picture is kept."""
    scale, zero = observer.calculate_qparams()
    low, high = (observer.quant_min - zero) * scale, (observer.quant_max - zero) * scale
    outside = (inputs[0] < low - scale) | (inputs[0] > high + scale)
    report.outside = max(report.outside, float(outside.float().mean()))
