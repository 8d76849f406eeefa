"""Programs for any number of images predict of each image what the model does."""

import copy

import narrow_models
import pytest
import torch
from click.testing import CliRunner
from det_core.data import read_image
from det_core.errors import ConfigError
from det_core.models.cpu_acceleration import accelerate
from det_core.plugins import registry
from det_core.structures import ImageBatch, Prediction
from det_export.batches import require_batchable
from det_export.check import Row, compared, shipped
from det_export.cli import command
from det_export.exported import ExportedModel
from det_export.metadata import Metadata
from det_export.postprocess_steps import graph_branches
from det_export.program import Program, padded, unflatten
from torch.nn import functional as F

FAMILIES = (
    "RPN FPN",
    "Faster R-CNN FPN",
    "Mask R-CNN FPN",
    "Mask R-CNN C4",
    "Keypoint R-CNN FPN",
    "Cascade R-CNN FPN",
    "RetinaNet",
    "FCOS",
)
FILES = [(form, name) for form in ("torch_export", "onnx") for name in ("Mask R-CNN FPN", "RetinaNet")]


BATCHES = {1: (160, 256), 2: (224, 192), 3: (192, 288), 4: (160, 256)}
"""Images at once, and (height, width) of the largest of them."""


def images(count):
    """Pictures of different sizes, a black one among them, padded as they enter a program."""
    size = BATCHES[count]
    whole = F.interpolate(read_image(shipped()[0])[None].float(), size=size, mode="bilinear", antialias=True)[0]
    whole = whole.round().to(torch.uint8)
    several = [whole, whole.flip(2)[:, :150, :181], torch.zeros_like(whole)[:, :140], whole.flip(1)[:, :, :170]]
    batch = ImageBatch.stack(several[:count])
    return ImageBatch(pixels=padded(batch, 32)[0], sizes=batch.sizes)


def require_same(expected, found, sizes):
    assert len(expected) == len(found) == len(sizes)
    for one, other, size in zip(expected, found, sizes, strict=True):
        row = compared(Row("image", size), one, other)
        assert row.agrees, row
        assert row.expected == row.actual


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_any_batch_of_each_family_as_image_by_image(name):
    model = accelerate(narrow_models.built(name), on=False)
    with graph_branches():
        program = Program(copy.deepcopy(model), images(2), any_batch=True).eval()
        for count in (1, 4):
            batch = images(count)
            outputs = program(batch.pixels, torch.tensor(batch.sizes))
            found = unflatten(dict(zip(program.outputs, outputs, strict=True)), batch.sizes)
            expected = [heatmaps_decoded(each, size) for each, size in zip(model(batch), batch.sizes, strict=True)]
            require_same(expected, found, batch.sizes)
            if name != "RPN FPN":
                assert len(found[0].detections) > 1


def heatmaps_decoded(prediction, size):
    """As a file's predictions are finished: keypoints in place of heatmaps."""
    from det_export.program import flatten

    return unflatten(flatten([prediction]), [size])[0]


@pytest.mark.slow
@pytest.mark.parametrize(("form", "name"), FILES)
def test_file_for_any_batch_agrees_with_the_model(form, name, tmp_path):
    model = accelerate(narrow_models.built(name, narrow_models.seed_of(name)), on=False)
    exporter = registry.find("exporters", form, "test").load()(dynamic_batch=True)
    example = ImageBatch(pixels=torch.zeros(1, 3, 192, 224, dtype=torch.uint8), sizes=((192, 224),))
    loaded = exporter.load(exporter.export(model, example, tmp_path / "model"))
    assert loaded.metadata.any_batch
    for count in (1, 2, 3):
        batch = images(count)
        with torch.no_grad():
            expected = model(batch)
        require_same(expected, loaded(batch), batch.sizes)
        assert len(expected[0].detections) > 1


@pytest.mark.parametrize(("name", "part"), [("PointRend", "PointRend"), ("Semantic FPN", "SemanticSegmentor")])
def test_any_batch_of_other_parts_refused(name, part, tmp_path):
    pytest.importorskip("det_pointrend" if name == "PointRend" else "det_panoptic")
    model = narrow_models.built(name)
    with pytest.raises(ConfigError, match=rf"{part}.*--batch N"):
        require_batchable(model)
    exporter = registry.find("exporters", "torch_export", "test").load()(dynamic_batch=True)
    with pytest.raises(ConfigError, match=part):
        exporter.export(model, images(1), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_dynamic_batch_and_batch_given_both_refused(tmp_path):
    options = ["model", "--format", "onnx", "--output", str(tmp_path / "m.onnx"), "--dynamic-batch", "--batch", "4"]
    result = CliRunner().invoke(command, options)
    assert isinstance(result.exception, ConfigError)
    assert "--dynamic-batch leaves free" in str(result.exception)


def test_exported_model_for_any_batch_runs_once():
    calls = []

    def run(pixels, sizes):
        calls.append(len(pixels))
        boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]]).repeat(3, 1)
        return [boxes, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3).long(), torch.tensor([1, 0, 2])]

    metadata = Metadata("made_up", ("boxes", "scores", "labels", "counts"), 64, 1, 2, 4096, None, 1, any_batch=True)
    model = ExportedModel(run, metadata, "m.made_up")
    batch = ImageBatch(pixels=torch.zeros(3, 3, 8, 8, dtype=torch.uint8), sizes=((8, 8),) * 3)
    found: list[Prediction] = model(batch)
    assert calls == [3]
    assert [each.detections.scores.tolist() for each in found] == [
        pytest.approx([0.9]),
        [],
        pytest.approx([0.8, 0.7]),
    ]
