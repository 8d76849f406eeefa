"""Traversing and comparing the tensors in inputs and outputs of components."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from det_core.structures import Prediction, map_tensors
from torch import Tensor

__all__ = ["convert", "difference", "flat", "not_finite", "of_prediction", "tensors"]

Rows = Mapping[str, Tensor]
_BOXES = "boxes"


def convert(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """`value` with `function` applied to every tensor in it: in mappings, lists, tuples and dataclasses."""
    if isinstance(value, Tensor | Mapping) and not any(isinstance(v, Mapping) for v in _values(value)):
        return map_tensors(value, function)
    if isinstance(value, Mapping):
        return {key: convert(item, function) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(convert(item, function) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(convert(item, function) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{f.name: convert(getattr(value, f.name), function) for f in fields(value)})
    return value


def _values(value: Any) -> Sequence[Any]:
    return list(value.values()) if isinstance(value, Mapping) else ()


def flat(value: Any, name: str = "") -> dict[str, Tensor]:
    """Every tensor in `value` by its path, "detections.boxes"."""
    return dict(_walk(value, name))


def tensors(value: Any) -> list[Tensor]:
    """Every tensor in `value`."""
    return list(flat(value).values())


def _walk(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    items: Iterator[tuple[Any, Any]]
    if isinstance(value, Tensor):
        yield name, value
        return
    if isinstance(value, Mapping):
        items = iter(value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        items = iter(zip(value._fields, value, strict=True))
    elif isinstance(value, list | tuple):
        items = iter(enumerate(value))
    elif is_dataclass(value) and not isinstance(value, type):
        items = ((f.name, getattr(value, f.name)) for f in fields(value))
    else:
        return
    for key, item in items:
        yield from _walk(item, f"{name}.{key}" if name else str(key))


def of_prediction(prediction: Prediction) -> dict[str, Tensor]:
    """The tensors of a prediction, "detections.boxes", "semantic.logits" ..."""
    return flat(prediction)


def not_finite(values: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that hold NaN or infinity."""
    return [name for name, v in values.items() if v.is_floating_point() and not bool(v.isfinite().all())]


def difference(a: Rows, b: Rows, tolerance: float = 1e-4) -> str:
    """Description of the difference of `b` from `a`; "" within `tolerance` times the size of the numbers.

    Objects may be in another order: nearly equal scores may be swapped.
    """
    if a.keys() != b.keys():
        return f"one has {', '.join(sorted(a)) or 'nothing'}, the other {', '.join(sorted(b)) or 'nothing'}"
    first = next((words for name in a if (words := _differs(name, a[name], b[name], tolerance))), "")
    if not first:
        return ""
    groups = {name.rpartition(".")[0] for name in a if name.rpartition(".")[2] == _BOXES}
    loose = [name for name in a if name.rpartition(".")[0].removesuffix(".extras") not in groups]
    if any(_differs(name, a[name], b[name], tolerance) for name in loose):
        return first
    same = all(_same_objects(_objects(a, group), _objects(b, group), tolerance) for group in groups)
    return "" if groups and same else first


def _differs(name: str, a: Tensor, b: Tensor, tolerance: float) -> str:
    if a.shape != b.shape:
        return f"{name!r} has shape {tuple(a.shape)} and {tuple(b.shape)}"
    if a.dtype != b.dtype:
        return f"{name!r} is {a.dtype} and {b.dtype}"
    if not a.is_floating_point():
        unequal = int((a != b).sum())
        return f"{name!r} differs in {unequal} of {a.numel()} values" if unequal else ""
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    scale = float(a[a.isfinite()].abs().max()) if a.isfinite().any() else 0.0
    if torch.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
        return ""
    return f"{name!r} differs by up to {float((a - b).abs().max()):.3g} where values reach {scale:.3g}"


def _objects(values: Rows, group: str) -> Tensor:
    """One row of numbers per object."""
    prefix = f"{group}." if group else ""
    boxes = values[f"{prefix}{_BOXES}"]
    fields = [v for name, v in values.items() if name.startswith(prefix) and v.ndim and len(v) == len(boxes)]
    return torch.cat([v.detach().double().cpu().reshape(len(boxes), math.prod(v.shape[1:])) for v in fields], dim=1)


def _same_objects(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Whether all but a twentieth of the rows have a match: ties may be broken differently in two runs."""
    allowed = max(len(a), len(b)) // 20
    if a.shape[1:] != b.shape[1:] or abs(len(a) - len(b)) > allowed:
        return False
    if not len(a) or not len(b):
        return True
    scale = a.abs().amax(dim=0).clamp(min=1e-6)
    gaps = torch.cdist(a / scale, b / scale, p=float("inf"))
    return int((gaps.amin(dim=1) > 10 * tolerance).sum()) <= allowed
