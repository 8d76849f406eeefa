"""Operations with sizes, in ONNX files."""

import pytest
import torch
from det_export.formats.scalars import translations
from torch import nn


class Halves(nn.Module):
    """The sum of the rows, half of their number, rounded up, times."""

    def forward(self, x):
        return x.sum(0) * -(-x.shape[0] // 2)


def test_floor_division_negative_size_rounds_as_python(tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    free = {"x": {0: torch.export.Dim("rows", min=2, max=64)}}
    program = torch.export.export(Halves(), (torch.zeros(6, 3),), dynamic_shapes=free)
    made = torch.onnx.export(program, dynamo=True, opset_version=20, custom_translation_table=translations())
    session = onnxruntime.InferenceSession(made.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for rows in (2, 5, 7, 8, 63):
        x = torch.arange(3.0 * rows).reshape(rows, 3)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), Halves()(x))
