"""A format of somebody else's is one class, and works on core's models."""

import io

import narrow_models
import torch
from det_core.structures import ImageBatch
from det_export.check import compare, shipped
from det_export.formats.base import FileExporter
from det_export.metadata import Metadata

MARK = b"PLAIN\n"


class PlainExporter(FileExporter):
    """The metadata on a line, and the program."""

    suffixes, format = (".plain",), "plain"

    def write(self, program, metadata, path):
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        path.write_bytes(MARK + metadata.to_json().encode() + b"\n" + buffer.getvalue())

    def read(self, path):
        _, text, data = path.read_bytes().split(b"\n", 2)
        return Metadata.of_json(text, str(path)), torch.export.load(io.BytesIO(data)).module()


def test_third_party_format_agrees_on_core_model(tmp_path):
    model = narrow_models.built("RPN FPN")
    size = narrow_models.EXAMPLE
    example = ImageBatch(pixels=torch.zeros(1, 3, *size, dtype=torch.uint8), sizes=(size,))
    exporter = PlainExporter()
    path = exporter.export(model, example, tmp_path / "model")
    assert path.read_bytes().startswith(MARK)
    agreement = compare(model, exporter.load(path), shipped()[:1], narrow_models.OTHERS[:1], path)
    assert agreement.agrees, agreement
    assert agreement.rows[0].expected > 1
