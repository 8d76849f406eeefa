"""Quantization to int8 after training (PT2E, through torchao): convolutions and linear layers, all else in float.

Weights are int8, symmetric, with a scale per output channel; what enters a layer is uint8 with one scale, set by the
histogram of what entered it on calibration pictures. What leaves a layer is float: box decoding, suppression and
ROIAlign compute as before.
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
    """One layer.

    Attributes:
        name: of the module in the model.
        quantized: False where it stays in float.
        decibels: power of its output over that of its error, from its own rounding alone, on one picture; the minimum
            of all places where the layer is used; infinite where it stays in float.
        outside: share of what enters it there that lies outside of the range that calibration set.
        reason: why it stays in float; "" where it does not.
    """

    name: str
    quantized: bool = True
    decibels: float = float("inf")
    outside: float = 0.0
    reason: str = ""


@dataclass
class QuantizationReport:
    """All layers, in order, and what to inspect.

    Attributes:
        layers: convolutions and linear layers.
        pictures: how many calibrated.
    """

    layers: list[LayerReport] = field(default_factory=list)
    pictures: int = 0

    def problems(self) -> list[str]:
        """Warnings, worst first; none where calibration fits."""
        found = []
        outside = max(self.layers, key=lambda layer: layer.outside, default=None)
        if outside is not None and outside.outside > _OUTSIDE:
            share = f"{outside.outside:.0%} of what enters {outside.name} lies outside of its calibrated range"
            found.append(f"the pictures of the check are unlike those of the calibration: {share}")
        unused = [layer.name for layer in self.layers if layer.reason == _UNUSED]
        if unused:
            found.append(f"nothing entered {', '.join(unused)} on any calibration picture; they stay in float")
        noisy = [layer for layer in self.layers if layer.decibels < _NOISY]
        for layer in sorted(noisy, key=lambda layer: layer.decibels)[:3]:
            found.append(f"{layer.name} loses much: {layer.decibels:.0f} dB; --keep-float {layer.name} keeps it")
        return found


_UNUSED = "nothing entered it"


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
    """The program with int8 convolutions and linear layers, and how each layer fares.

    Args:
        program: of a model in evaluation mode; it is not changed.
        pictures: its inputs, one tuple per picture, read as at inference; at least one.
        keep_float: names of modules that stay in float, with all that is in them: "roi_heads.box_predictor".
        dynamic_shapes: as `torch.export.export` took them for the program.
        others: inputs that the report is measured on; the first of the calibration where there are none.

    Raises:
        DataError: there are no pictures.
        ConfigError: a name in `keep_float` is no layer's, or no layer is left.
        MissingExtraError: torchao is not installed.
    """
    require_torchao()
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from det_export.quantizer import LayerQuantizer

    graph: fx.GraphModule = program.module(check_guards=False)
    names = dict(layers(graph))
    kept = _kept(set(names.values()), keep_float)
    if not set(names.values()) - kept:
        raise ConfigError("int8", "no layer is left to quantize", fix="give fewer names to --keep-float")
    prepared = prepare_pt2e(graph, LayerQuantizer([node.name for node, name in names.items() if name not in kept]))
    measured, count = list(others[:1]), 0
    with torch.no_grad():
        for inputs in pictures:
            prepared(*inputs)
            count += 1
            measured = measured or [inputs]
        if not count:
            raise DataError("int8", "there are no pictures to calibrate on", fix="name a folder: --calibrate FOLDER")
        unused = _without_unused(prepared)
        report = _report(prepared, measured[0], kept)
        report.pictures = count
        for layer in report.layers:
            if layer.name in unused:
                layer.quantized, layer.reason = False, _UNUSED
        converted = convert_pt2e(prepared)
        exported = torch.export.export(converted, program.example_inputs[0], dynamic_shapes=dynamic_shapes, strict=True)
    return exported, report


def layers(graph: fx.GraphModule) -> Iterator[tuple[fx.Node, str]]:
    """The convolutions and linear layers of a graph, each with the name of its module; one per place of use."""
    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target in _LAYERS:
            name = weight_name(node.args[1])
            if name:
                yield node, name


def weight_name(node: Any) -> str:
    """The module of a weight, as the model calls it; "" of what is computed."""
    while isinstance(node, fx.Node) and node.op == "call_module":  # an observer
        node = node.args[0]
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return ""
    return str(node.target).rpartition(".")[0].removeprefix("model.")


def _kept(names: set[str], keep_float: Sequence[str]) -> set[str]:
    kept: set[str] = set()
    for wanted in keep_float:
        within = {name for name in names if name == wanted or name.startswith(f"{wanted}.")}
        if not within:
            near = difflib.get_close_matches(wanted, names, 3) or sorted(names)[:3]
            raise ConfigError("--keep-float", "is no convolution or linear layer", wanted, f"such as {', '.join(near)}")
        kept |= within
    return kept


def _observed(prepared: fx.GraphModule) -> Iterator[tuple[fx.Node, Any, Any]]:
    """Each layer with its observers of what enters and of its weights; None where there is none."""
    for node, _ in layers(prepared):
        modules = [
            prepared.get_submodule(str(each.target)) if isinstance(each, fx.Node) and each.op == "call_module" else None
            for each in node.args[:2]
        ]
        yield node, modules[0], modules[1]


def _without_unused(prepared: fx.GraphModule) -> set[str]:
    """Take out the observers of layers that nothing entered, which would have made up scales; returns their names."""
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
        """Observers pass on what they are given."""
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
                found = LayerReport(weight_name(n.args[1]))
                found.decibels = 10 * math.log10(power / error) if error and power else float("inf")
                found.outside = float(((x < low - scale) | (x > high + scale)).float().mean())
                before = self.measured.setdefault(found.name, found)
                before.decibels = min(before.decibels, found.decibels)
                before.outside = max(before.outside, found.outside)
        return result


def _rounded(x: Tensor, observer: Any, axis: int | None) -> Tensor:
    scale, zero = observer.calculate_qparams()
    low, high = observer.quant_min, observer.quant_max
    if axis is None:
        return torch.fake_quantize_per_tensor_affine(x, float(scale), int(zero), low, high)
    return torch.fake_quantize_per_channel_affine(x, scale, zero.to(torch.int32), axis, low, high)


def _report(prepared: fx.GraphModule, inputs: tuple[Tensor, ...], kept: set[str]) -> QuantizationReport:
    measuring = _Measuring(prepared)
    measuring.run(*inputs)
    names = dict.fromkeys(name for _, name in layers(prepared))
    report = QuantizationReport()
    for name in names:
        own = measuring.measured.get(name, LayerReport(name))
        if name in kept:
            own.quantized, own.reason = False, "asked for"
        report.layers.append(own)
    return report
