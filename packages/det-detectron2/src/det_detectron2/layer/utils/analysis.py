"""Operations and parameters of models, as `detectron2.utils.analysis`; counted by fvcore."""

from collections import Counter, defaultdict
from typing import Any

from torch import nn

__all__ = ["find_unused_parameters", "flop_count_operators", "parameter_count", "parameter_count_table"]


def flop_count_operators(model: nn.Module, inputs: list[dict[str, Any]]) -> defaultdict[str, float]:
    """10^9 multiplications by kind of operation, "conv", "matmul", ..., of one prediction; the model keeps its mode."""
    from torch.utils.flop_counter import FlopCounterMode

    training = model.training
    model.eval()
    with FlopCounterMode(display=False) as counter:
        model(inputs)
    model.train(training)
    names = {"convolution": "conv", "mm": "matmul", "addmm": "linear", "bmm": "matmul"}
    results: Counter[str] = Counter()
    for operation, count in counter.get_flop_counts()["Global"].items():
        name = str(operation).removeprefix("aten.").partition(".")[0]
        results[names.get(name, name)] += count
    # torch counts multiplications and additions, Detectron2 one of both.
    return defaultdict(float, {name: count / 2 / 1e9 for name, count in results.items()})


def parameter_count(model: nn.Module) -> defaultdict[str, int]:
    """Numbers of parameters by the name of the part; "" for all."""
    results: defaultdict[str, int] = defaultdict(int)
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        for count in range(len(parts) + 1):
            results[".".join(parts[:count])] += parameter.numel()
    return results


def parameter_count_table(model: nn.Module, max_depth: int = 3) -> str:
    """Numbers of parameters by part, a line each."""
    results = parameter_count(model)
    rows = [(name or "model", count) for name, count in results.items() if name.count(".") < max_depth]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {count:>12,}" for name, count in rows)


def find_unused_parameters(model: nn.Module, inputs: Any) -> list[str]:
    """The names of parameters that have no gradient after a loss of `inputs`."""
    assert model.training
    for parameter in model.parameters():
        parameter.grad = None
    losses = model(inputs)
    total: Any = sum(losses.values()) if isinstance(losses, dict) else losses
    total.backward()
    unused = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    for parameter in model.parameters():
        parameter.grad = None
    return unused
