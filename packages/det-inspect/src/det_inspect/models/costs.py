"""Parameters, floating-point operations and activations of a model, module by module."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from det_core.models.cpu_acceleration import accelerate
from det_core.structures import ImageBatch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["ModuleCost", "model_costs"]


@dataclass(frozen=True)
class ModuleCost:
    """One module, with all that is in it.

    Attributes:
        name: path in the model; "" is the model.
        kind: class name of the module.
        parameters: numbers that are trained or frozen; shared ones count once.
        flops: number of operations of one forward pass, as torch counts them: a multiplication and an addition are two;
            matrix products and convolutions alone.
        activations: numbers that its convolutions and linear layers put out in one forward pass.
        calls: number of calls in one forward pass.
    """

    name: str
    kind: str
    parameters: int
    flops: int
    activations: int
    calls: int


def model_costs(model: nn.Module, batch: ImageBatch) -> list[ModuleCost]:
    """The costs of predicting a batch, of the model first, then of each of its modules in order.

    What depends on the content of the images, such as the second stage on the number of regions, is counted for these.
    The model stays as it is, but for its mode: it is left in evaluation mode.
    """
    model = accelerate(model.eval(), on=False)
    activations: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    handles = [
        module.register_forward_hook(_counting(name, activations, calls)) for name, module in model.named_modules()
    ]
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    flops = _flops(counter)
    _sum_uncalled(model, flops, calls)
    return [
        ModuleCost(
            name=name,
            kind=type(module).__name__,
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            flops=flops[name],
            activations=sum(n for path, n in activations.items() if _within(path, name)),
            calls=calls[name],
        )
        for name, module in model.named_modules()
    ]


def _counting(name: str, activations: Counter[str], calls: Counter[str]) -> Any:
    def count(module: nn.Module, _inputs: Any, output: Any) -> None:
        calls[name] += 1
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            activations[name] += sum(each.numel() for each in _tensors(output))

    return count


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Sequence):
        for each in output:
            yield from _tensors(each)


def _flops(counter: FlopCounterMode) -> Counter[str]:
    """By path: torch puts the class of the model in front, and "Global" for the whole."""
    counts: Counter[str] = Counter()
    for name, operations in counter.get_flop_counts().items():
        if name == "Global":
            counts[""] = sum(operations.values())
        elif "." in name:
            counts[name.partition(".")[2]] = sum(operations.values())
    return counts


def _sum_uncalled(model: nn.Module, flops: Counter[str], calls: Counter[str]) -> None:
    """A module whose children were called without it, such as a list of layers, has their sum."""
    for name, module in reversed(list(model.named_modules())):
        if not calls[name]:
            flops[name] += sum(flops[f"{name}.{child}"] for child, _ in module.named_children())


def _within(path: str, name: str) -> bool:
    return not name or path == name or path.startswith(f"{name}.")
