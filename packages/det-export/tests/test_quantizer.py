"""Scales of int8 layers."""

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("torchao", reason="int8 needs the extra int8")

from det_export.quantize import quantize


@pytest.mark.parametrize("factor", [1.0, 1e-3, 1e-5])
def test_quantize_weights_of_any_size_lose_as_little(factor):
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, 3, bias=False)
    nn.init.normal_(layer.weight, std=factor)
    pixels = torch.randint(0, 256, (1, 3, 32, 32)).float()
    program = torch.export.export(nn.Sequential(layer).eval(), (pixels,), strict=True)
    quantized, report = quantize(program, [(pixels,)])
    assert report.layers[0].decibels > 35
    with torch.no_grad():
        expected = layer(pixels)
        torch.testing.assert_close(quantized.module()(pixels), expected, rtol=0, atol=float(expected.abs().max()) / 50)


@pytest.mark.parametrize(("bias", "kept"), [(None, False), (0.0, False), (0.5, True)])
def test_openvino_int8_convolutions_have_a_bias(tmp_path, bias, kept):
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    from det_export.formats.openvino import _add_biases

    arrays = {"weights": np.ones((2, 3, 1, 1), np.int8), "scale": np.float32(0.1), "zero": np.int8(0)}
    arrays |= {} if bias is None else {"bias": np.full(2, bias, np.float32)}
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in arrays.items()]
    nodes = [
        onnx.helper.make_node("DequantizeLinear", ["weights", "scale", "zero"], ["float_weights"]),
        onnx.helper.make_node("Conv", ["x", "float_weights", *(["bias"] if "bias" in arrays else [])], ["y"]),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1, channels, 4, 4]) for name, channels in (("x", 3), ("y", 2))]
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "graph", ends[:1], ends[1:], tensors)), path)
    _add_biases(path)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    [name] = model.graph.node[1].input[2:]
    [values] = [onnx.numpy_helper.to_array(each) for each in model.graph.initializer if each.name == name]
    assert values.tolist() == ([bias] * 2 if kept else pytest.approx([1e-20] * 2))
