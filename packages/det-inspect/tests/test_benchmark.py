"""`det benchmark`: runtimes of one model on the pictures of the examples."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from det_core import recipes
from det_core.files import IMAGE_SUFFIXES
from det_core.predict import Detector
from det_core.structures import Detections
from det_inspect.cli.benchmark import command
from det_inspect.speed.agreement import agreement_of
from det_inspect.speed.measure import Figures
from det_inspect.speed.report import COLUMNS, rows_of
from det_inspect.speed.torchvision_pair import counterpart
from PIL import Image

CELLS = Path(__file__).parents[3] / "examples" / "blood-cells"
MODEL, PICTURES = CELLS / "detector.safetensors", CELLS / "images"

needs_cells = pytest.mark.skipif(not MODEL.exists(), reason="the examples are not beside the package")


def detections(rows):
    """Detections of rows (x0, y0, x1, y1, label, score)."""
    table = torch.tensor(rows).reshape(-1, 6)
    return Detections(boxes=table[:, :4], labels=table[:, 4].long(), scores=table[:, 5], size=(100, 100))


def test_agreement_matches_by_label_and_overlap():
    one = detections([[0, 0, 10, 10, 0, 0.9], [50, 50, 60, 60, 1, 0.8], [80, 80, 90, 90, 1, 0.7]])
    other = detections([[0, 0, 10, 12, 0, 0.8], [50, 50, 60, 60, 0, 0.8], [80, 80, 90, 91, 1, 0.7]])
    found = agreement_of([one, detections([])], [other, detections([])])
    assert (found.matched, found.boxes, found.scores) == (pytest.approx(2 / 3), 2, pytest.approx(0.1))
    assert agreement_of([detections([])], [detections([])]).matched == 1
    assert agreement_of([one], [detections([])]).matched == 0
    assert agreement_of([torch.tensor([[0, 1], [1, 1]])], [torch.tensor([[0, 1], [1, 0]])]).matched == 0.75


def test_figures_are_those_worked_out_by_hand():
    same = agreement_of([detections([])], [detections([])])
    slow = Figures("eager", [10.0] * 19 + [110.0], 2, 100.0, same, None, 3)
    fast = Figures("onnx", [5.0] * 20, 2, None, same, 1.5, 3)
    assert (slow.median, slow.p95, slow.throughput) == (10, 10, pytest.approx(1000 * 40 / 300))
    assert Figures("x", [1.0, 2.0], 1, None, same, None, 0).p95 == 2
    assert Figures("x", [float(n) for n in range(1, 101)], 1, None, same, None, 0).p95 == 95
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in rows_of([slow, fast])]
    assert [row["times first"] for row in rows] == ["1.00", "2.00"]
    assert (rows[1]["peak, MB"], rows[1]["file, MB"], rows[0]["file, MB"]) == ("-", "1.5", "-")


@needs_cells
def test_wrong_input_is_reported_at_once(tmp_path):
    (tmp_path / "bad.png").write_text("no picture", "utf-8")
    arguments = [str(tmp_path / "absent.safetensors"), "--images", str(tmp_path), "--runtimes", "eagre,onxn"]
    arguments += ["--json", str(tmp_path / "no" / "a.json")]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    for problem in ("'eagre'", "'onxn'", "bad.png", "absent.safetensors", "--json: there is no folder"):
        assert problem in result.stderr
    for arguments, problem in (
        ([str(MODEL), "--images", str(tmp_path / "none")], "--images: there is no such file or folder"),
        ([str(MODEL), "--images", str(CELLS / "images"), "--most", "1", "--runtimes", ","], "--runtimes: has no name"),
        ([str(MODEL), "--images", str(PICTURES), "--most", "1", "--against", "torchvision"], "has no counterpart"),
    ):
        assert problem in CliRunner().invoke(command, arguments).stderr


def test_images_of_all_suffixes_are_found(tmp_path):
    for suffix in IMAGE_SUFFIXES:
        (tmp_path / f"bad{suffix.upper()}").write_text("no picture", "utf-8")
    arguments = ["absent.safetensors", "--images", str(tmp_path), "--most", "99"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert not [suffix for suffix in IMAGE_SUFFIXES if f"bad{suffix.upper()}: " not in result.stderr]
    assert (
        "the folder has no pictures"
        in CliRunner().invoke(command, ["m", "--images", str(Path(__file__).parent)]).stderr
    )


@needs_cells
@pytest.mark.slow
def test_command_measures_runtimes_on_cells(tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("det_export")
    arguments = [str(MODEL), "--images", str(PICTURES), "--most", "2", "--runs", "3", "--threads", "1"]
    arguments += ["--runtimes", "eager,optimized,torch_export", "--batch", "1"]
    arguments += ["--json", str(tmp_path / "speed.json"), "--plot", str(tmp_path / "speed.png")]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "speed.json").read_text("utf-8"))
    assert (found["images"], found["batch"], found["threads"]) == (2, 1, 1)
    rows = {each["runtime"]: each for each in found["runtimes"]}
    assert list(rows) == ["eager", "optimized", "torch_export"]
    detector = Detector.load(MODEL, device="cpu")
    count = sum(len(detector(path)) for path in sorted(PICTURES.glob("*.jpg"))[:2])
    for row in rows.values():
        assert len(row["times"]) == 3
        assert 0 < row["median_ms"] <= row["p95_ms"] == max(row["times"])
        assert row["peak_mb"] > 100
        assert row["agreement"]["matched"] > 0.9
        assert abs(row["detections"] - count) <= 1
    assert rows["eager"]["agreement"] == {"matched": 1.0, "boxes": 0.0, "scores": 0.0}
    assert rows["torch_export"]["file_mb"] > 1
    assert rows["eager"]["file_mb"] is None
    with Image.open(tmp_path / "speed.png") as picture:
        assert picture.width > 1000


RESNET = {
    "extends": "mask_rcnn_r50_fpn_1x",
    "model": {
        "num_classes": 3,
        "backbone": {"bottom_up": {"depth": 18, "res2_channels": 64}},
        "roi_heads": {"box_predictor": {"nms": {"score_threshold": 0.4}}},
    },
    "data": {"eval_transforms": [{"type": "det_core.data:ResizeShortestEdge", "size": 128, "max_size": 200}]},
}


def random_detector(**changes):
    """A Mask R-CNN with random weights."""
    torch.manual_seed(0)
    recipe = recipes.recipe_from_tree({**RESNET, **changes})
    detector = Detector(
        recipe.build_model(), ("a", "b", "c"), recipe.build_part("data.eval_transforms", list), (), "cpu"
    )
    detector.recipe = recipe
    return detector


@pytest.mark.slow
def test_torchvision_counterpart_computes_the_same_features():
    detector = random_detector()
    model, other = detector.model, counterpart(detector, 0.0)
    image = torch.randint(0, 256, (3, 128, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    from det_core.structures import ImageBatch

    with torch.no_grad():
        ours = model.backbone(model.preprocess(ImageBatch(pixels=image[None], sizes=((128, 160),))))
        given, _ = other.model.transform([image.float() / 255])
        theirs = other.model.backbone(given.tensors)
    for one, two in zip(ours.values(), theirs.values(), strict=True):
        assert float((one - two).abs().max() / one.abs().max()) < 1e-4
    found = other([image])
    assert found[0].size == (128, 160)
    assert set(found[0].labels.tolist()) <= {0, 1, 2}


def test_torchvision_has_no_counterpart_of_other_models():
    from det_core.errors import ConfigError

    with pytest.raises(ConfigError, match="torchvision has no counterpart"):
        counterpart(random_detector(data={"eval_transforms": []}))
