"""Test-time augmentation of DensePose through `Detector.augmented`, `det predict --tta` and `det eval --tta`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.contracts import Augmentable
from det_core.errors import ConfigError, DataError
from det_core.predict import Detector
from det_core.recipes import recipe_from_tree
from det_core.structures import ImageBatch
from det_densepose.augmented import AugmentedDensePose
from det_densepose.render.scene import Scenery
from det_densepose.render.writing import write_dataset
from det_densepose.results.access import persons, raw_fields
from PIL import Image
from safetensors.torch import save_file

POOLER = {"type": "det_core.ops.roi:ROIPooler", "resolution": 4, "pooling": "ROIAlign", "sampling_ratio": 2}
CHARTS = {"densepose_predictor": {"type": "det_densepose.models:DensePoseChartPredictor", "num_parts": 24}}
EMBEDDINGS = {
    "densepose_predictor": {"type": "det_densepose.models:DensePoseEmbeddingPredictor", "embed_dim": 4},
    "embedder": {"det_figure": {"type": "det_densepose.models:VertexDirectEmbedder", "num_vertices": 1990}},
    "loss": {"type": "det_densepose.losses:DensePoseCseLoss"},
}


def tree(folder: Path, branch: Any, body: str = "det_figure") -> dict[str, Any]:
    head = {"type": "det_densepose.models:DensePoseV1ConvXHead", "num_conv": 1, "conv_dim": 8}
    densepose = {"pooler": POOLER, "decoder": None, "densepose_head": head, **branch}
    stage = {
        "type": "standard_roi_heads",
        "pooler": {"resolution": 2},
        "box_head": {"type": "fast_rcnn_conv_fc_head", "num_fc": 1, "fc_dim": 8},
        "box_predictor": {"max_detections": 3},
    }
    data = {"type": "densepose", "images": str(folder / "images"), "annotations": str(folder / "annotations.json")}
    split = {**data, "body": "det_figure"}
    return {
        "model": {
            "type": "faster_rcnn",
            "num_classes": 1,
            "backbone": {"type": "fpn", "out_channels": 8, "bottom_up": {"type": "resnet", "depth": 18}},
            "roi_heads": {"type": "densepose_roi_heads", "stage": stage, "densepose": densepose, "body": body},
        },
        "data": {
            "train": split,
            "val": split,
            "eval_transforms": [{"type": "det_core.data:ResizeShortestEdge", "size": 32}],
            "workers": 0,
            "evaluators": [{"type": "densepose", "body": "det_figure"}],
        },
    }


def model_of(folder: Path, branch: Any, body: str = "det_figure") -> Any:
    recipe = recipe_from_tree(tree(folder, branch, body))
    torch.manual_seed(0)
    return recipe, recipe.build_model()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("pictures")
    write_dataset(folder, 1, Scenery((48, 48), (1, 1)), per_part=2)
    return folder


@pytest.mark.parametrize("branch", [CHARTS, EMBEDDINGS])
def test_detector_augmented_of_densepose_describes_surfaces(pictures: Path, branch: Any) -> None:
    _, model = model_of(pictures, branch)
    assert any(isinstance(part, Augmentable) for part in model.modules())
    detector = Detector(model, ["person"], device="cpu").augmented(sizes=(32, 48))
    assert isinstance(detector.model, AugmentedDensePose)
    assert detector.model.max_detections == 3
    [file] = (pictures / "images").iterdir()
    result = detector(file, threshold=0)
    assert 0 < len(result.detections) <= 3
    assert len(persons(result)) == len(result.detections)
    fields = raw_fields(result.detections)
    assert ("embedding" in fields) == (branch is EMBEDDINGS)
    for value in fields.values():
        assert np.isfinite(value.as_subclass(torch.Tensor).numpy()).all()


def test_detector_augmented_of_one_straight_view_is_the_detector(pictures: Path) -> None:
    _, model = model_of(pictures, CHARTS)
    detector = Detector(model, ["person"], device="cpu")
    [file] = (pictures / "images").iterdir()
    plain = detector(file, threshold=0).detections
    viewed = detector.augmented(sizes=(48,), flip=False)(file, threshold=0).detections
    torch.testing.assert_close(viewed.boxes, plain.boxes)
    torch.testing.assert_close(raw_fields(viewed)["u"], raw_fields(plain)["u"], rtol=1e-3, atol=1e-4)


def test_detector_augmented_mirrored_views_of_embeddings_give_boxes_alone(pictures: Path) -> None:
    _, model = model_of(pictures, EMBEDDINGS)
    [file] = (pictures / "images").iterdir()
    found = Detector(model, ["person"], device="cpu").augmented(sizes=(48,))(file, threshold=0).detections
    pixels = torch.from_numpy(np.asarray(Image.open(file).convert("RGB")).copy())

    batch = ImageBatch(pixels=pixels.permute(2, 0, 1)[None].float(), sizes=((48, 48),))
    [straight] = model.eval().predict_given_boxes(batch, [replace(found, extras={})])
    expected, got = (raw_fields(each)["embedding"].as_subclass(torch.Tensor) for each in (straight, found))
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


def test_detector_augmented_without_the_published_symmetry_names_the_file(pictures: Path) -> None:
    _, model = model_of(pictures, CHARTS, "smpl_27554")
    [file] = (pictures / "images").iterdir()
    with pytest.raises((ConfigError, DataError), match=r"UV_symmetry_transforms\.mat"):
        Detector(model, ["person"], device="cpu").augmented(sizes=(32,))(file, threshold=0)


def test_predict_and_eval_with_tta_work_of_densepose(pictures: Path, tmp_path: Path) -> None:
    recipe, model = model_of(pictures, CHARTS)
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    given = ["--weights", str(tmp_path / "weights.safetensors"), "--device", "cpu", "--tta"]
    predict = ["predict", str(pictures / "images"), "--model", str(tmp_path / "recipe.yaml"), *given]
    predict += ["--threshold", "0", "--save", "iuv", "--output", str(tmp_path / "out")]
    outcome = CliRunner().invoke(det, predict)
    assert outcome.exit_code == 0, outcome.output
    assert list((tmp_path / "out").glob("*_IUV.png"))
    outcome = CliRunner().invoke(det, ["eval", str(tmp_path / "recipe.yaml"), *given, "--split", "val", "--json"])
    assert outcome.exit_code == 0, outcome.output
    assert "densepose_gps/AP" in json.loads(outcome.stdout[outcome.stdout.index("{") :])["metrics"]
