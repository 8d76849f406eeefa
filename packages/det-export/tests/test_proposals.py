"""Files of models that take proposals with each image."""

import narrow_models
import pytest
import torch
from det_core.errors import ConfigError, StructureError
from det_core.plugins import registry
from det_core.structures import ImageBatch, Proposals
from det_export.check import Row, compared
from det_export.program import Program, padded, unflatten
from det_export.proposals import inputs_of, synthetic, with_proposals

SIZE, OTHER = (192, 224), (160, 256)


def exporter_of(form, **options):
    return registry.find("exporters", form, "test").load()(**options)


def example(count=1):
    return ImageBatch(pixels=torch.zeros(count, 3, *SIZE, dtype=torch.uint8), sizes=(SIZE,) * count)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["torch_export", "onnx"])
def test_fast_rcnn_file_any_proposals_agrees_with_the_model(form, tmp_path):
    model = narrow_models.built("Fast R-CNN FPN")
    exporter = exporter_of(form)
    loaded = exporter.load(exporter.export(model, example(), tmp_path / "model"))
    assert loaded.metadata.inputs[2] == "proposals"
    pixels, every = narrow_models.picture(OTHER).pixels, synthetic(OTHER)
    for rows in (slice(0, 64), slice(5, 6), slice(0, 0)):
        given = (Proposals(boxes=every.boxes[rows], logits=every.logits[rows]),)
        batch = ImageBatch(pixels=pixels, sizes=(OTHER,), proposals=given)
        with torch.no_grad():
            (expected,), (found,) = model(batch), loaded(batch)
        row = compared(Row("picture", OTHER), expected, found)
        assert row.agrees, row
        assert row.expected == row.actual
        assert bool(row.expected) == (rows != slice(0, 0))
    with pytest.raises(StructureError, match="are needed"):
        loaded(narrow_models.picture(OTHER))


@torch.no_grad()
def test_program_of_fast_rcnn_agrees_with_the_model():
    model = narrow_models.built("Fast R-CNN FPN")
    batch = with_proposals(model, narrow_models.picture(OTHER))
    program = Program(model, batch).eval()
    outputs = program(*padded(batch, 32), *inputs_of(batch.proposals[0]))
    (found,) = unflatten(dict(zip(program.outputs, outputs, strict=True)), batch.sizes)
    row = compared(Row("picture", OTHER), model(batch)[0], found)
    assert row.agrees
    assert row.expected == row.actual > 1


@pytest.mark.parametrize(
    ("form", "options", "images", "message"),
    [
        ("torch_export", {"dynamic_batch": True}, 1, r"of one image where a model takes proposals"),
        ("torch_export", {}, 2, r"of one image where a model takes proposals; got 2"),
        ("torch_export", {"precision": "int8", "calibrate": "photos"}, 1, r"calibrates on pictures alone"),
        ("onnx", {"resize": True}, 1, r"models that take an image alone.*--no-resize"),
    ],
)
def test_fast_rcnn_options_that_proposals_exclude_refused(form, options, images, message, tmp_path):
    model = narrow_models.built("Fast R-CNN FPN")
    if options.get("precision") == "int8":
        pytest.importorskip("torchao")
    with pytest.raises(ConfigError, match=message):
        exporter_of(form, **options).export(model, example(images), tmp_path / "model")
