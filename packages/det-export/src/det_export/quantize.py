"""Quantization to int8 after training (PT2E, through torchao): convolutions and linear layers, all else in float.

Weights are symmetric int8 with one scale per output channel; the input of a layer is uint8 with one scale, set by its
histogram on calibration pictures. The output of a layer is float: box decoding, NMS and ROIAlign are unchanged.
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from det_core.errors import ConfigError, DataError, MissingExtraError
from torch import Tensor, fx
from torch.export import ExportedProgram

__all__ = ["LayerReport", "QuantizationReport", "quantize", "require_torchao"]

_LAYERS = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
_OUTSIDE = 0.05
_NOISY = 10.0  # dB


@dataclass
class LayerReport:
    """Quantization error of one layer.

    Attributes:
        name: name of the module in the model.
        quantized: whether it is int8; False if it stays in float.
        decibels: signal-to-noise ratio of its output in dB, with the rounding of this layer alone, on one picture; the
            minimum over all calls of the layer; infinite if it stays in float.
        outside: fraction of its inputs in that call that lie outside the calibrated range.
        reason: why it stays in float; "" if it is quantized.
    """

    name: str
    quantized: bool = True
    decibels: float = float("inf")
    outside: float = 0.0
    reason: str = ""


@dataclass
class QuantizationReport:
    """Quantization errors of all layers.

    Attributes:
        layers: reports of convolutions and linear layers, in order of the graph.
        pictures: number of pictures used for calibration.
    """

    layers: list[LayerReport] = field(default_factory=list)
    pictures: int = 0

    def problems(self) -> list[str]:
        """Warnings, worst first; empty if the calibration is good."""
        problems = []
        outside = max(self.layers, key=lambda layer: layer.outside, default=None)
        if outside is not None and outside.outside > _OUTSIDE:
            share = f"{outside.outside:.0%} of the inputs of {outside.name} lie outside its calibrated range"
            problems.append(f"the pictures of the check are unlike those of the calibration: {share}")
        unused = [layer.name for layer in self.layers if layer.reason == _UNUSED]
        if unused:
            problems.append(f"no input reached {', '.join(unused)} on any calibration picture; they stay in float")
        noisy = [layer for layer in self.layers if layer.decibels < _NOISY]
        for layer in sorted(noisy, key=lambda layer: layer.decibels)[:3]:
            problems.append(f"{layer.name} loses much: {layer.decibels:.0f} dB; --keep-float {layer.name} keeps it")
        return problems


_UNUSED = "no input reached it"


def require_torchao() -> None:
    """MissingExtraError without torchao."""
    try:
        import torchao.quantization.pt2e  # noqa: F401
    except ImportError as error:
        fix = "pip install det-export[int8] --find-links WHEELS"
        raise MissingExtraError("int8", f"needs {error.name}, which is not installed", fix=fix) from error


def quantize(
    program: ExportedProgram,
    pictures: Iterable[tuple[Tensor, ...]],
    keep_float: Sequence[str] = (),
    dynamic_shapes: Any = None,
    others: Sequence[tuple[Tensor, ...]] = (),
) -> tuple[ExportedProgram, QuantizationReport]:
    """The program with int8 convolutions and linear layers, and the quantization error of each layer.

    Args:
        program: program of a model in evaluation mode; it is not changed.
        pictures: calibration inputs, one tuple per picture, preprocessed as at inference; at least one.
        keep_float: names of modules that stay in float with their submodules, such as "roi_heads.box_predictor".
        dynamic_shapes: dynamic shapes with which `torch.export.export` traced the program.
        others: inputs for the report; by default the first calibration input.

    Raises:
        DataError: there are no calibration pictures.
        ConfigError: a name in `keep_float` has no layer, or no layer is left to quantize.
        MissingExtraError: torchao is not installed.
    """
    require_torchao()
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from det_export.quantizer import LayerQuantizer

    graph: fx.GraphModule = program.module(check_guards=False)
    names = dict(layers(graph))
    float_layers = _float_layers(set(names.values()), keep_float)
    if not set(names.values()) - float_layers:
        raise ConfigError("int8", "no layer is left to quantize", fix="give fewer names to --keep-float")
    prepared = prepare_pt2e(
        graph, LayerQuantizer([node.name for node, name in names.items() if name not in float_layers])
    )
    measured, count = list(others[:1]), 0
    with torch.no_grad():
        for inputs in pictures:
            prepared(*inputs)
            count += 1
            measured = measured or [inputs]
        if not count:
            raise DataError("int8", "there are no pictures to calibrate on", fix="name a folder: --calibrate FOLDER")
        unused = _without_unused(prepared)
        report = _report(prepared, measured[0], float_layers)
        report.pictures = count
        for layer in report.layers:
            if layer.name in unused:
                layer.quantized, layer.reason = False, _UNUSED
        converted = convert_pt2e(prepared)
        exported = torch.export.export(converted, program.example_inputs[0], dynamic_shapes=dynamic_shapes, strict=True)
    return exported, report


def layers(graph: fx.GraphModule) -> Iterator[tuple[fx.Node, str]]:
    """The convolutions and linear layers of a graph, each with the name of its module; one entry per call."""
    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target in _LAYERS:
            name = weight_name(node.args[1])
            if name:
                yield node, name


def weight_name(node: Any) -> str:
    """The name of the module of a weight; "" if the weight is computed."""
    while isinstance(node, fx.Node) and node.op == "call_module":  # an observer
        node = node.args[0]
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return ""
    return str(node.target).rpartition(".")[0].removeprefix("model.")


def _float_layers(names: set[str], keep_float: Sequence[str]) -> set[str]:
    layers: set[str] = set()
    for prefix in keep_float:
        within = {name for name in names if name == prefix or name.startswith(f"{prefix}.")}
        if not within:
            near = difflib.get_close_matches(prefix, names, 3) or sorted(names)[:3]
            raise ConfigError("--keep-float", "is no convolution or linear layer", prefix, f"such as {', '.join(near)}")
        layers |= within
    return layers


def _observed(prepared: fx.GraphModule) -> Iterator[tuple[fx.Node, Any, Any]]:
    """Each layer with the observers of its input and of its weight; None if there is no observer."""
    for node, _ in layers(prepared):
        modules = [
            prepared.get_submodule(str(each.target)) if isinstance(each, fx.Node) and each.op == "call_module" else None
            for each in node.args[:2]
        ]
        yield node, modules[0], modules[1]


def _without_unused(prepared: fx.GraphModule) -> set[str]:
    """Remove the observers of layers that were never run, which have no range; returns the names of the layers."""
    unused = set()
    for node, entering, _ in list(_observed(prepared)):
        if entering is not None and not bool(torch.isfinite(entering.min_val).all()):
            unused.add(weight_name(node.args[1]))
            node.args = (node.args[0].args[0], node.args[1].args[0], *node.args[2:])  # type: ignore[union-attr]
    prepared.graph.eliminate_dead_code()
    prepared.recompile()
    return unused


class _Measuring(fx.Interpreter):
    """Runs a prepared graph without observing, and measures each layer by itself."""

    def __init__(self, prepared: fx.GraphModule) -> None:
        super().__init__(prepared)
        self.observers = {node: (entering, weights) for node, entering, weights in _observed(prepared)}
        self.measured: dict[str, LayerReport] = {}

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Observers return their input."""
        return (
            args[0] if str(target).startswith("activation_post_process") else super().call_module(target, args, kwargs)
        )

    def run_node(self, n: fx.Node) -> Any:
        """One node; of a layer also its error."""
        result = super().run_node(n)
        entering, weights = self.observers.get(n, (None, None))
        if entering is not None:
            x, w, *others = self.fetch_args_kwargs_from_env(n)[0]
            if x.numel():
                rounded = n.target(_rounded(x, entering, None), _rounded(w, weights, 0), *others)  # type: ignore[operator]
                scale, zero = entering.calculate_qparams()
                low, high = (0 - zero) * scale, (255 - zero) * scale
                error = float(((rounded - result) ** 2).sum())
                power = float((result**2).sum())
                layer = LayerReport(weight_name(n.args[1]))
                layer.decibels = 10 * math.log10(power / error) if error and power else float("inf")
                layer.outside = float(((x < low - scale) | (x > high + scale)).float().mean())
                before = self.measured.setdefault(layer.name, layer)
                before.decibels = min(before.decibels, layer.decibels)
                before.outside = max(before.outside, layer.outside)
        return result


def _rounded(x: Tensor, observer: Any, axis: int | None) -> Tensor:
    scale, zero = observer.calculate_qparams()
    low, high = observer.quant_min, observer.quant_max
    if axis is None:
        return torch.fake_quantize_per_tensor_affine(x, float(scale), int(zero), low, high)
    return torch.fake_quantize_per_channel_affine(x, scale, zero.to(torch.int32), axis, low, high)


def _report(prepared: fx.GraphModule, inputs: tuple[Tensor, ...], float_layers: set[str]) -> QuantizationReport:
    measuring = _Measuring(prepared)
    measuring.run(*inputs)
    names = dict.fromkeys(name for _, name in layers(prepared))
    report = QuantizationReport()
    for name in names:
        layer = measuring.measured.get(name, LayerReport(name))
        if name in float_layers:
            layer.quantized, layer.reason = False, "asked for"
        report.layers.append(layer)
    return report
