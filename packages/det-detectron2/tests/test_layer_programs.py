"""The programs of examples/detectron2, run as users run them, with small settings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROGRAMS = Path(__file__).parents[3] / "examples/detectron2"
SMALL = (
    *("MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "(1,)", "SEED", "3"),
    *("INPUT.MIN_SIZE_TRAIN", "(96,)", "INPUT.MIN_SIZE_TEST", "96", "DATALOADER.NUM_WORKERS", "0"),
)
NARROW = (
    *("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64", "MODEL.FPN.OUT_CHANNELS", "32"),
    *("MODEL.ROI_BOX_HEAD.FC_DIM", "64", "MODEL.ROI_MASK_HEAD.CONV_DIM", "32", "MODEL.RPN.POST_NMS_TOPK_TEST", "50"),
    *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"),  # two steps may leave all scores low
)


def run(folder: Path, program: str, *arguments: str) -> str:
    """What a program prints."""
    command = [sys.executable, "-m", "det_detectron2", str(PROGRAMS / program), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "DET_PLAIN": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("detectron2 is det's layer") == 1
    return done.stdout


@pytest.mark.slow
def test_program_trains_with_masks_then_predicts_on_a_folder(tmp_path: Path) -> None:
    output = run(tmp_path, "finetune.py", *SMALL, *NARROW, "OUTPUT_DIR", str(tmp_path / "run"))
    assert "Evaluation results for segm" in output
    config = tmp_path / "run/config.yaml"
    assert yaml.safe_load(config.read_text())["MODEL"]["MASK_ON"] is True
    (tmp_path / "in").mkdir()
    image = next((PROGRAMS.parent / "nuclei/images").iterdir())
    (tmp_path / "in" / image.name).write_bytes(image.read_bytes())
    weights = str(tmp_path / "run/model_final.pth")
    printed = run(tmp_path, "predict.py", "in", "out", str(config), weights)
    assert printed.startswith(f"{image.name}: ")
    assert (tmp_path / "out" / f"{image.stem}.png").stat().st_size > 0


@pytest.mark.slow
def test_program_with_registered_backbone_and_hook_trains(tmp_path: Path) -> None:
    output = run(tmp_path, "custom.py", *SMALL, "OUTPUT_DIR", str(tmp_path / "run"))
    assert output.count(", lowest ") == 2
