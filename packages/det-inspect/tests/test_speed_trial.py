"""`Detector.optimize` with images, and `det predict --fast`."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from det_core.cli.predict import command
from det_core.predict import Detector
from det_core.predict.optimize import Optimized
from det_inspect.speed import trial

CELLS = Path(__file__).parents[3] / "examples" / "blood-cells"
PICTURES = sorted((CELLS / "images").glob("*.jpg"))[:2]

pytestmark = pytest.mark.skipif(not PICTURES, reason="the examples are not beside the package")


@pytest.fixture(scope="module")
def detector():
    return Detector.load(CELLS / "detector.safetensors", device="cpu")


@pytest.mark.parametrize(("limit", "chosen"), [(0.5, "bf16"), (1.01, "fp32")])
def test_optimize_takes_bf16_only_if_it_agrees(detector, monkeypatch, limit, chosen):
    seconds = iter([4.0, 3.0, 1.0])
    predictions = trial._trial
    monkeypatch.setattr(trial, "_trial", lambda *arguments: (predictions(*arguments)[0], next(seconds)))
    monkeypatch.setattr(trial, "computes_in_bf16", lambda device: True)
    monkeypatch.setattr(trial, "AGREEMENT", limit)
    faster = detector.optimize(PICTURES, threshold=0.5)
    assert isinstance(faster.model, Optimized) == (chosen == "bf16")
    assert faster.optimization.startswith(f"{chosen}: {0.5 if chosen == 'bf16' else 1.5:.2f} s an image, 2.00 before")
    assert "of the detections agree" in faster.optimization
    assert detector.optimization == ""


def test_optimize_without_bf16_instructions_stays_in_fp32(detector, monkeypatch):
    monkeypatch.setattr(trial, "computes_in_bf16", lambda device: False)
    faster = detector.optimize(PICTURES[:1])
    assert "bf16: not tried, cpu does not compute in it" in faster.optimization
    assert len(faster(PICTURES[0])) == len(detector(PICTURES[0]))


@pytest.mark.parametrize(("count", "message"), [(3, "norms folded; bf16 is tried"), (20, "s an image")])
def test_predict_fast_reports_its_choice_and_finds_the_same(tmp_path, count, message):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(count):
        shutil.copy(PICTURES[number % 2], photos / f"{number}.jpg")
    (photos / "1.jpg").write_bytes(b"no picture")
    run = ["--model", str(CELLS / "detector.safetensors"), "--device", "cpu", "--save", "json", "--output"]
    fast = CliRunner().invoke(command, [str(photos), *run, str(tmp_path / "fast"), "--fast"])
    assert fast.exit_code == 1, fast.output
    assert message in fast.output
    assert f"1 of {count} images could not be read" in fast.output
