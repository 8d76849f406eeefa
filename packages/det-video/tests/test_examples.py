"""The programs in examples/video run as they stand, on a film made of a photograph."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from det_video.frames import Video

ROOT = Path(__file__).parents[3]
CELLS = ROOT / "examples" / "blood-cells"


def run(name: str, *arguments: object) -> str:
    program = ROOT / "examples" / "video" / name
    assert len(program.read_text(encoding="utf-8").splitlines()) <= 32
    command = [sys.executable, str(program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    run("make_film.py", CELLS / "images" / "BloodImage_00007.jpg", path)
    assert len(list(Video(path))) == 25
    return path


def test_count_crossings_counts_cells_to_the_left(film: Path):
    printed = run("count_crossings.py", film, CELLS / "detector.safetensors")
    right, left = (sum(ast.literal_eval(each).values()) for each in re.findall(r"{.*?}", printed))
    # The window moves to the right, so that cells move to the left; a box on the line may go there and back.
    assert left > right
    assert printed.count(" crosses") == left + right


def test_dwell_time_is_within_the_film(film: Path):
    lines = run("dwell_time.py", film, CELLS / "detector.safetensors").splitlines()
    seconds = [float(line.split()[2]) for line in lines[:-1]]
    assert max(seconds) > 0.4
    assert all(0 <= each <= 0.96 for each in seconds)
    assert "'RBC': " in lines[-1]


def test_blur_writes_a_film_of_the_same_length(film: Path, tmp_path: Path):
    assert "times RBC" in run("blur.py", film, CELLS / "detector.safetensors", "RBC", tmp_path / "out")
    blurred = list(Video(tmp_path / "out" / "video.mp4"))
    assert len(blurred) == 25
    # Blocks of one color have less detail than the cells had.
    original = next(iter(Video(film)))
    assert blurred[0].float().diff(dim=2).abs().mean() < 0.85 * original.float().diff(dim=2).abs().mean()
