"""Bounds of foreign ONNX graphs: tensors made of constants, graphs within graphs, and the memory of a run."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from det_core.errors import CheckpointError

__all__ = ["LARGEST", "MEMORY", "limit_memory", "require_bounded"]

LARGEST = 2**28
"""Maximum number of elements of a tensor that an operator makes from constants."""

MEMORY = 16 * 2**30
"""Bytes that all graphs of a process have together."""

_NODES = 1_000_000
_DEPTH = 16
_SMALL = 64  # elements of a constant that shapes are computed from
_FIX = "export the model again"
# Which input determines the size of the output, and how.
_MAKERS: Mapping[str, tuple[int, str]] = {
    "ConstantOfShape": (0, "shape"),
    "Expand": (1, "shape"),
    "Tile": (1, "shape"),
    "Reshape": (1, "shape"),
    "Range": (1, "limit"),
    "Pad": (1, "shape"),
    "Resize": (3, "shape"),
    "OneHot": (1, "shape"),
}
_RATIONAL: Mapping[str, Callable[[int, int], int]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Max": max,
    "Min": min,
    "Div": lambda a, b: int(a / b) if b and abs(a) < 2**50 else a,
    "Pow": lambda a, b: a ** min(max(b, 0), 64) if abs(a) < 2**32 else a,
}
_SAME = ("Identity", "Cast", "Unsqueeze", "Squeeze", "Reshape", "Flatten")


def require_bounded(model: Any, where: str) -> None:
    """Raise CheckpointError where an operator makes a huge tensor of constants, or graphs are deep or endless.

    Shapes are followed through the integer arithmetic of small constants. What depends on the input of the graph is
    bounded when it runs, by `limit_memory`.
    """
    _Examiner(where).graph(model.graph, {}, 0)
    if len(model.functions):
        raise CheckpointError(where, "has functions of its own, which det does not write", fix=_FIX)


class _Examiner:
    def __init__(self, where: str) -> None:
        self.where, self.nodes = where, 0

    def graph(self, graph: Any, constants: Mapping[str, list[int]], depth: int) -> None:
        """One graph, with what is known of the graphs around it."""
        if depth > _DEPTH:
            raise CheckpointError(self.where, "has graphs within graphs", f"more than {_DEPTH} deep", _FIX)
        values = dict(constants)
        for tensor in graph.initializer:
            self._learn(tensor.name, tensor, values)
        for node in graph.node:
            self.nodes += 1
            if self.nodes > _NODES:
                raise CheckpointError(self.where, "has too many operators", f"more than {_NODES}", _FIX)
            self._node(node, values)
            for attribute in node.attribute:
                for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                    self.graph(inner, values, depth + 1)

    def _learn(self, name: str, tensor: Any, values: dict[str, list[int]]) -> None:
        from onnx import TensorProto, numpy_helper

        if tensor.data_type in (TensorProto.INT64, TensorProto.INT32) and 0 <= math.prod(tensor.dims) <= _SMALL:
            values[name] = [int(value) for value in numpy_helper.to_array(tensor).flatten().tolist()]

    def _node(self, node: Any, values: dict[str, list[int]]) -> None:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    self._learn(node.output[0], attribute.t, values)
                elif attribute.name == "value_ints" and len(attribute.ints) <= _SMALL:
                    values[node.output[0]] = list(attribute.ints)
                elif attribute.name == "value_int":
                    values[node.output[0]] = [attribute.i]
            return
        self._require_small(node, values)
        value = _computed(node.op_type, [values.get(name) for name in node.input])
        if value is not None and len(value) <= _SMALL:
            values[node.output[0]] = value

    def _require_small(self, node: Any, values: Mapping[str, list[int]]) -> None:
        place, kind = _MAKERS.get(node.op_type, (0, ""))
        if not kind or len(node.input) <= place:
            return
        operand = values.get(node.input[place])
        if operand is None:
            return
        count = (
            math.prod(max(abs(value), 1) for value in operand) if kind == "shape" else max(map(abs, operand), default=0)
        )
        if count > LARGEST:
            found = f"{node.op_type} {node.name!r:.80} makes {count:.3g} elements"
            raise CheckpointError(self.where, "makes tensors larger than any model's", found, _FIX)


def _computed(operator: str, inputs: Sequence[list[int] | None]) -> list[int] | None:
    """The integers that an operator computes from constants; None if unknown."""
    if not inputs or any(each is None for each in inputs[:1]):
        return None
    operands = [each for each in inputs if each is not None]
    if operator in _SAME:
        return operands[0]
    if len(operands) != len(inputs):
        return None
    if operator == "Concat":
        return [value for each in operands for value in each]
    if operator in _RATIONAL and len(operands) == 2:
        one, other = operands
        length = max(len(one), len(other))
        if len(one) not in (1, length) or len(other) not in (1, length):
            return None
        one, other = one * (length // max(len(one), 1)), other * (length // max(len(other), 1))
        return [_RATIONAL[operator](a, b) for a, b in zip(one, other, strict=True)]
    if operator == "ReduceProd":
        return [math.prod(operands[0])]
    return None


@functools.cache
def _register() -> bool:
    """Give this process one allocator for all graphs, with a limit; once."""
    import onnxruntime

    try:
        device = onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        )
        arena = onnxruntime.OrtArenaCfg({"max_mem": MEMORY, "arena_extend_strategy": 1})
        onnxruntime.create_and_register_allocator(device, arena)
    except Exception:  # an onnxruntime with another interface: then memory is not limited
        return False
    return True


def limit_memory(options: Any) -> None:
    """Let a session of onnxruntime take its memory from the allocator that has a limit."""
    if _register():
        options.add_session_config_entry("session.use_env_allocators", "1")
