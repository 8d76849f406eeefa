"""`Detector.load(NAME)` takes the published weights of that name."""

import re

import pytest
import standins
import torch
from click.testing import CliRunner
from det_core import Detector
from det_core.cli.main import det
from det_core.errors import UnknownNameError, WeightsError
from det_core.predict.loading import _known_classes
from det_core.recipes import load
from det_core.zoo.class_names import COCO_CATEGORY_IDS, COCO_CLASSES
from PIL import Image
from safetensors.torch import save_file


@pytest.mark.parametrize("name", ["Tiny/squares_R_1_1x", "squares_r1_1x", "det-tiny/squares_r1_1x"])
def test_published_weights_are_downloaded_once(tiny, name):
    for _ in range(2):
        detector = Detector.load(name, device="cpu")
    assert tiny.server.asked == [f"/{tiny.file.name}"]
    torch.testing.assert_close(detector.model.head.bias.detach().numpy(), tiny.state["head.bias"], rtol=0, atol=0)
    assert len(detector(standins.Squares(seed=1)[0].image, threshold=0.3))


def test_weights_of_ones_own_come_before_the_published_ones(tiny, tmp_path):
    state = {name: torch.zeros_like(torch.from_numpy(array)) for name, array in tiny.state.items()}
    save_file(state, tmp_path / "own.safetensors")
    detector = Detector.load("squares_r1_1x", weights=tmp_path / "own.safetensors", device="cpu")
    assert not detector.model.head.bias.any()
    by_override = Detector.load("squares_r1_1x", overrides=[f"weights={{source: {tmp_path / 'own.safetensors'}}}"])
    assert not by_override.model.head.bias.any()
    assert tiny.server.asked == []


def test_weights_may_be_at_an_address(tiny):
    detector = Detector.load("squares_r1_1x", weights=f"{tiny.server.url}/{tiny.file.name}", device="cpu")
    assert detector.model.head.bias.any()


def test_recipe_without_published_weights_is_refused(tiny):
    tiny.publish(weights=None)
    problem = "has no trained weights, and there are no published weights of Tiny/squares_R_1_1x; give --weights FILE"
    with pytest.raises(WeightsError, match=problem):
        Detector.load("squares_r1_1x")


def test_offline_error_names_expected_file(tiny, monkeypatch):
    monkeypatch.setenv("DET_OFFLINE", "1")
    with pytest.raises(WeightsError, match=rf"is not here, and DET_OFFLINE is set; put it at .*{tiny.file.name}"):
        Detector.load("squares_r1_1x")


def test_file_with_wrong_hash_is_refused(tiny):
    tiny.file.write_bytes(b"something else")
    with pytest.raises(WeightsError, match="is not the published file"):
        Detector.load("squares_r1_1x")


def test_published_model_of_missing_plugin_names_package(without):
    without("det-tensormask")
    with pytest.raises(UnknownNameError, match="det-tensormask would provide it: pip install det-tensormask"):
        Detector.load("TensorMask/tensormask_R_50_FPN_1x")


def test_misspelt_name_gets_suggestions():
    with pytest.raises(UnknownNameError, match=r"did you mean .*'COCO-Detection/faster_rcnn_R_50_FPN_3x'"):
        Detector.load("COCO-Detection/fastr_rcnn_R_50_FPN_3x")


def test_classes_and_category_ids_are_those_of_training_set(tiny):
    assert Detector.load("squares_r1_1x", device="cpu").classes == ("class 0", "class 1")
    assert _known_classes(load("faster_rcnn_r50_fpn_3x"), 80) == (COCO_CLASSES, COCO_CATEGORY_IDS)
    assert _known_classes(load("keypoint_rcnn_r50_fpn_3x"), 1) == (("person",), (1,))


def test_other_classes_than_the_published_ones_have_no_names():
    assert _known_classes(load("faster_rcnn_r50_fpn_3x"), 2) == (("class 0", "class 1"), ())
    assert _known_classes(load("rotated_faster_rcnn_r50_fpn_3x"), 1) == (("class 0",), ())


def test_det_predict_accepts_name_and_weight_file(tiny, tmp_path):
    Image.fromarray(standins.Squares(seed=1)[0].image.permute(1, 2, 0).numpy()).save(tmp_path / "1.png")
    found = []
    for weights in ([], ["--weights", str(tiny.file)]):
        command = ["predict", str(tmp_path / "1.png"), "--model", "Tiny/squares_R_1_1x", *weights, "--json"]
        result = CliRunner().invoke(det, [*command, "--threshold", "0.3"])
        assert result.exit_code == 0, result.output
        found.append(result.stdout)
    assert found[0] == found[1]
    assert re.search(r'"category_id": [01]', found[0])
