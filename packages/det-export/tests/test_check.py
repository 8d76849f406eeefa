"""The check of a file, on a model and files that are made up."""

import torch
from click.testing import CliRunner
from det_core.plugins import registry
from det_core.predict import Detector
from det_core.structures import Detections, Prediction
from det_export import check
from det_export.cli import command
from det_export.exported import ExportedModel
from det_export.metadata import Metadata
from torch import nn

BOXES = torch.tensor([[0.0, 0.0, 8.0, 8.0], [4.0, 4.0, 20.0, 16.0]])
SCORES = torch.tensor([0.9, 0.5])


class OnlyOnLight(nn.Module):
    """Two detections on a picture with light in it, none on a black one."""

    num_classes = 1

    def forward(self, batch):
        count = 2 if batch.pixels.any() else 0
        labels = torch.zeros(count, dtype=torch.int64)
        return [
            Prediction(detections=Detections(boxes=BOXES[:count], labels=labels, scores=SCORES[:count], size=size))
            for size in batch.sizes
        ]


def faithful(pixels, sizes):
    count = 2 if pixels.any() else 0
    return [BOXES[:count], SCORES[:count], torch.zeros(count, dtype=torch.int64)]


def two_at_least(pixels, sizes):
    if not pixels.any():
        raise RuntimeError("Runtime assertion failed for expression u1 >= 2")
    return faithful(pixels, sizes)


def file_of(run):
    return ExportedModel(run, Metadata("made_up", ("boxes", "scores", "labels"), 1, 1, 2, 4096, None, 1), "m.made_up")


def compared(run, tmp_path):
    path = tmp_path / "m.made_up"
    path.write_bytes(b"0")
    return check.compare(OnlyOnLight(), file_of(run), check.shipped()[:1], [(32, 48)], path)


def test_compare_black_picture_without_detections_agrees(tmp_path):
    agreement = compared(faithful, tmp_path)
    assert [(row.image == check.BLACK, row.expected, row.actual) for row in agreement.rows] == [
        (False, 2, 2),
        (True, 0, 0),
    ]
    assert agreement.agrees


def test_compare_a_file_that_fails_on_a_picture_differs(tmp_path):
    agreement = compared(two_at_least, tmp_path)
    assert [row.agrees for row in agreement.rows] == [True, False]
    assert "u1 >= 2" in agreement.rows[1].problem
    assert not agreement.agrees
    assert agreement.as_dict()["rows"][1]["problem"]


class MadeUp:
    """An exporter whose file fails on black pictures."""

    def __init__(self, dynamic=True):
        pass

    def export(self, model, example, path):
        path.write_bytes(b"0")
        return path

    def load(self, path):
        return file_of(two_at_least)


class Named:
    def load(self):
        return MadeUp


def test_export_file_failing_on_picture_exit_code_1(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "find", lambda *_: Named())
    detector = Detector(OnlyOnLight(), ("cell",), [], ())
    monkeypatch.setattr(detector, "about_for_export", dict, raising=False)
    monkeypatch.setattr(Detector, "load", lambda *_, **__: detector)
    output = tmp_path / "m.made_up"
    result = CliRunner().invoke(command, ["model", "--format", "made_up", "--output", str(output)])
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert "u1 >= 2" in result.output
    assert "the file differs from the model" in result.output
    assert output.exists()
