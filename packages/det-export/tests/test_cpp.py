"""`examples/deploy/cpp`: the AOTInductor package of a Mask R-CNN in a program that g++ builds."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torchvision
from det_core import recipes
from det_core.predict import Detector
from det_export.numpy_postprocess import masks
from PIL import Image

FOLDER = Path(__file__).parents[3] / "examples" / "deploy" / "cpp"
CELLS = Path(__file__).parents[3] / "examples" / "blood-cells"
COLORS = ((230, 25, 75), (60, 180, 75), (67, 99, 216))
LEVEL = 0.3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.exists(), reason="the examples are not beside the package"),
    pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++"),
]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A narrow Mask R-CNN as a package."""
    import narrow_models

    detector = Detector(narrow_models.built("Mask R-CNN FPN", 1), ("a", "b", "c"), device="cpu")
    detector.recipe = recipe_of("Mask R-CNN FPN")
    return detector.export("aoti", tmp_path_factory.mktemp("package") / "mask.pt2", narrow_models.EXAMPLE)


def recipe_of(name):
    """The recipe of a narrow model behind a small size of images."""
    import narrow_models

    parent, changes = narrow_models.MODELS[name]
    resize = {"type": "det_core.data:ResizeShortestEdge", "size": 192, "max_size": 320}
    return recipes.recipe_from_tree({"extends": parent, "model": changes, "data": {"eval_transforms": [resize]}})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The program, as a function of its arguments."""
    program = tmp_path_factory.mktemp("program") / "mask_rcnn"
    subprocess.run([str(FOLDER / "build.sh"), sys.executable, str(program)], check=True, capture_output=True)
    operators = Path(torchvision.__file__).parent

    def call(*arguments):
        command = [str(program), *([str(operators)] if arguments else []), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    return call


def test_program_draws_objects_of_detector(run, package, tmp_path):
    picture = tmp_path / "picture.png"
    with Image.open(CELLS / "images" / "BloodImage_00007.jpg") as photo:
        photo.convert("RGB").resize((480, 360)).save(picture)
    done = run(package, picture, tmp_path / "found.png", LEVEL)
    assert done.returncode == 0, done.stderr
    result = Detector.load(package, device="cpu", trust=True)(picture, threshold=LEVEL)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert len(rows) == len(result) > 3
    assert [row[0] for row in rows] == [result.classes[label] for label in result.detections.labels]
    np.testing.assert_allclose([float(row[1]) for row in rows], result.detections.scores, atol=1e-3)
    np.testing.assert_allclose([list(map(float, row[2:])) for row in rows], result.detections.boxes, atol=0.05)
    expected = drawn(np.asarray(Image.open(picture)).copy(), result.detections)
    found = np.asarray(Image.open(tmp_path / "found.png"))
    assert found.shape == expected.shape
    assert (np.abs(found.astype(int) - expected).max(2) > 4).mean() < 0.01
    assert (found != np.asarray(Image.open(picture))).any(2).mean() > 0.05


def drawn(picture, detections):
    """What the program draws: masks blended one after another, and the edges of each box in full color."""
    height, width = picture.shape[:2]
    inside = masks(detections.masks.numpy(), detections.boxes.numpy(), (height, width))
    for mask, box, label in zip(inside, detections.boxes.tolist(), detections.labels.tolist(), strict=True):
        left, top = (max(0, int(np.floor(value))) for value in box[:2])
        right, bottom = (min(most, int(np.ceil(value))) for value, most in zip(box[2:], (width, height), strict=True))
        region = np.zeros_like(mask)
        region[top:bottom, left:right] = True
        color = np.array(COLORS[label])
        picture[mask & region] = (picture[mask & region].astype(int) + color) // 2
        part = picture[top:bottom, left:right]
        for edge in (part[:2], part[-2:], part[:, :2], part[:, -2:]):
            edge[:] = color
    return picture


def test_program_reports_wrong_files(run, package, tmp_path):
    (tmp_path / "text.png").write_text("no picture", "utf-8")
    shutil.copy(package, tmp_path / "alone.pt2")
    output = tmp_path / "found.png"
    for arguments, problem in (
        ((), "usage: mask_rcnn"),
        ((tmp_path / "alone.pt2", tmp_path / "text.png", output), "alone.pt2.json: is not beside a Mask R-CNN"),
        ((package, tmp_path / "text.png", output), "Unsupported image file"),
        ((package, tmp_path / "absent.png", output), "No such file"),
    ):
        done = run(*arguments)
        assert (done.returncode, problem in done.stderr) == (1, True), done.stderr
    assert not output.exists()
