"""Scales of int8 layers."""

import pytest
import torch
from torch import nn

pytest.importorskip("torchao", reason="int8 needs the extra int8")

from det_export.quantize import quantize  # noqa: E402


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
