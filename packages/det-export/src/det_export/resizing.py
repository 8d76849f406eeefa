"""Resizing inside an ONNX file: a picture of any size enters, and boxes leave in the picture's own pixels."""

from collections.abc import Mapping, Sequence
from typing import Any

from det_core.errors import ConfigError

from det_export.metadata import INPUTS, Metadata
from det_export.program import HEATMAPS

__all__ = ["INPUT", "can_resize", "require_resizable", "with_resizing"]

INPUT = "image"
"""The input of a file that resizes: uint8 (H, W, 3), RGB."""

_OUTPUTS = {"boxes", "scores", "labels", "masks", HEATMAPS}


def require_resizable(metadata: Metadata) -> None:
    """ConfigError where boxes could not be brought back: other outputs, several images, transforms without a rule."""
    fix = "leave resizing out: --no-resize, or resize=False"
    outputs, rule, batch_size = metadata.outputs, metadata.resize, metadata.batch_size
    if tuple(metadata.inputs) != INPUTS:
        raise ConfigError(
            "resize", "is for models that take an image alone", f"it takes {', '.join(metadata.inputs)}", fix
        )
    if not rule:
        raise ConfigError("resize", "has no rule: the recipe's transforms do more than ResizeShortestEdge", fix=fix)
    others = set(outputs) - _OUTPUTS
    if others or batch_size != 1:
        detail = ", ".join(sorted(others)) or f"{batch_size} images at once"
        raise ConfigError("resize", "is for one image, and boxes, masks and keypoints", detail, fix)


def can_resize(metadata: Metadata) -> bool:
    """Whether `require_resizable` raises nothing."""
    try:
        require_resizable(metadata)
    except ConfigError:
        return False
    return True


def with_resizing(model: Any, rule: Mapping[str, Any]) -> Any:
    """A `ModelProto` that takes `INPUT` in place of pixels and sizes, and returns boxes in its pixels.

    Args:
        model: model with the inputs `pixels` and `sizes`, for one image.
        rule: resizing rule as of `det_export.preprocess.prepare`, with the same arithmetic.

    Raises:
        ConfigError: the boxes are rotated.
    """
    from onnx import TensorProto

    (boxes,) = (each for each in model.graph.output if each.name == "boxes")
    columns = boxes.type.tensor_type.shape.dim[-1].dim_value
    if columns != 4:
        fix = "leave resizing out: --no-resize, or resize=False"
        raise ConfigError("resize", "is for boxes of two corners", f"they have {columns} numbers", fix)
    nodes = _Nodes()
    shape = nodes.add("Shape", INPUT)
    size = nodes.add("Slice", shape, nodes.ints(0), nodes.ints(2))
    sides = nodes.add("Cast", size, to=TensorProto.DOUBLE)
    scale = nodes.double(1.0)
    if rule["short"]:
        scale = nodes.add("Div", nodes.double(rule["short"]), nodes.add("ReduceMin", sides, keepdims=1))
    if rule["long"]:
        limit = nodes.add("Div", nodes.double(rule["long"]), nodes.add("ReduceMax", sides, keepdims=1))
        scale = nodes.add("Min", scale, limit)
    rounded = nodes.add("Add", nodes.add("Mul", sides, scale), nodes.double(0.5))
    new = nodes.add("Max", nodes.add("Cast", rounded, to=TensorProto.INT64), nodes.ints(1))
    step, least = nodes.ints(rule["divisibility"]), nodes.ints(rule["smallest"])
    units = nodes.add("Div", nodes.add("Add", new, nodes.ints(rule["divisibility"] - 1)), step)
    missing = nodes.add("Sub", nodes.add("Max", nodes.add("Mul", units, step), least), new)
    planes = nodes.add("Unsqueeze", nodes.add("Transpose", INPUT, perm=[2, 0, 1]), nodes.ints(0))
    target = nodes.add("Concat", nodes.ints(1, 3), new, axis=0)
    values = nodes.add("Cast", planes, to=TensorProto.FLOAT)
    resized = nodes.add("Resize", values, "", "", target, mode="linear", antialias=1)
    low, high = nodes.constant(TensorProto.FLOAT, (), [0.0]), nodes.constant(TensorProto.FLOAT, (), [255.0])
    clipped = nodes.add("Clip", nodes.add("Round", resized), low, high)
    pads = nodes.add("Concat", nodes.ints(0, 0, 0, 0, 0, 0), missing, axis=0)
    nodes.add("Pad", nodes.add("Cast", clipped, to=TensorProto.UINT8), pads, output="pixels")
    nodes.add("Unsqueeze", new, nodes.ints(0), output="sizes")
    ratio = nodes.add("Div", sides, nodes.add("Cast", new, to=TensorProto.DOUBLE))
    swapped = nodes.add("Gather", nodes.add("Cast", ratio, to=TensorProto.FLOAT), nodes.ints(1, 0, 1, 0))
    return _prefixed(model, nodes, swapped)


def _prefixed(model: Any, nodes: "_Nodes", factors: str) -> Any:
    """The model behind `nodes`, which make its inputs out of the image; its boxes times `factors`."""
    import onnx
    from onnx import TensorProto, helper

    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    used = [each for each in graph.input if each.name in ("pixels", "sizes")]
    for each in used:
        graph.input.remove(each)
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["image_height", "image_width", 3]))
    for node in graph.node:
        _rename(node, {"boxes": "resize_boxes"})
    last = helper.make_node("Mul", ["resize_boxes", factors], ["boxes"], name="resize_back")
    body = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes.nodes, *body, last])
    graph.initializer.extend(nodes.constants)
    return result


def _rename(node: Any, names: Mapping[str, str]) -> None:
    for values in (node.input, node.output):
        for index, name in enumerate(values):
            values[index] = names.get(name, name)


class _Nodes:
    """The nodes and constants of the part in front, in order."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """One more node; returns the name of its output."""
        from onnx import helper

        output = output or f"resize_{len(self.nodes)}"
        name = f"resize_node_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output

    def constant(self, kind: int, shape: Sequence[int], values: Sequence[Any]) -> str:
        """A constant tensor; returns its name."""
        from onnx import helper

        name = f"resize_constant_{len(self.constants)}"
        self.constants.append(helper.make_tensor(name, kind, list(shape), list(values)))
        return name

    def ints(self, *values: int) -> str:
        """int64 (N,)."""
        from onnx import TensorProto

        return self.constant(TensorProto.INT64, (len(values),), values)

    def double(self, value: float) -> str:
        """float64 (1,)."""
        from onnx import TensorProto

        return self.constant(TensorProto.DOUBLE, (1,), [float(value)])
