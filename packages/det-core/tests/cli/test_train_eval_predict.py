import json
import os
import signal
import sys

import pytest
import standins
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.engine import loop
from det_core.plugins import known
from det_core.predict.detector import Detector
from PIL import Image


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(det, [str(each) for each in arguments])

    return run


@pytest.fixture
def recipe(tmp_path):
    return standins.recipe().save(tmp_path / "squares.yaml")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    recipe = standins.recipe(steps=80).save(folder / "squares.yaml")
    result = CliRunner().invoke(det, ["train", str(recipe), "--output", str(folder / "run")])
    assert result.exit_code == 0, result.output
    return folder / "run"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        pixels = standins.Squares()[index].image.permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{index:06}.png")
    return folder


@pytest.mark.parametrize("name", ["train", "eval", "predict"])
def test_help_has_an_example(invoke, name):
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"det {name} " in result.output


def test_run_goes_to_the_folder_named_after_its_recipe(invoke, recipe, tmp_path):
    result = invoke("train", recipe)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "runs" / "squares" / "best.safetensors").exists()
    assert "Best box/recall" in result.stdout
    assert "best.safetensors" in result.stdout


def test_file_called_recipe_is_named_after_its_folder(invoke, tmp_path):
    (tmp_path / "cells").mkdir()
    recipe = standins.recipe(steps=1).save(tmp_path / "cells" / "recipe.yaml")
    assert invoke("train", recipe).exit_code == 0
    assert (tmp_path / "runs" / "cells" / "last.safetensors").exists()


def test_set_changes_the_recipe(invoke, recipe, tmp_path):
    result = invoke("train", recipe, "--set", "train.steps=2", "--set", "train.log_every=2", "--output", "out")
    assert result.exit_code == 0, result.output
    assert len((tmp_path / "out" / "scalars.jsonl").read_text().splitlines()) == 2


def test_recipe_error_is_one_line_with_exit_code_2(invoke, recipe, tmp_path):
    result = invoke("train", recipe, "--set", "train.stepz=2")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "stepz" in result.stderr
    assert "steps" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_run_is_not_overwritten_by_accident(invoke, recipe):
    assert invoke("train", recipe).exit_code == 0
    result = invoke("train", recipe)
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert invoke("train", recipe, "--overwrite").exit_code == 0
    assert invoke("train", recipe, "--resume", "--overwrite").exit_code == 2


def test_train_stopped_run_resumes_as_printed(invoke, recipe, monkeypatch, tmp_path):
    original = loop.Trainer.train_step

    def train_step(self, batch):
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "train_step", train_step)
        result = invoke("train", recipe, "--set", "train.steps=5", "--output", "out")
    assert result.exit_code == 143
    _, _, command = result.stderr.partition("Stopped after step 3; everything is saved. Go on with: det ")
    assert command.split() == ["train", str(recipe), "--set", "train.steps=5", "--output", "out", "--resume"]
    assert invoke(*command.split()).exit_code == 0
    assert Detector.load(tmp_path / "out" / "last.safetensors", device="cpu").about.step == 5


def test_checkpoint_is_evaluated_on_the_data_of_its_recipe(invoke, trained):
    result = invoke("eval", trained / "best.safetensors")
    assert result.exit_code == 0, result.output
    assert "test: 4 images" in result.stdout
    assert "box/recall" in result.stdout
    assert "no box/AP: recall knows no precision" in result.stdout


def test_metrics_as_json_are_json_alone(invoke, trained):
    test, val = (json.loads(invoke("eval", trained, "--split", each, "--json").stdout) for each in ("test", "val"))
    assert (test["metrics"]["box/seen"], val["metrics"]["box/seen"]) == (8, 6)
    about = Detector.load(trained, device="cpu").about
    assert val["metrics"]["box/recall"] == about.metrics["box/recall"]


def test_recipe_is_evaluated_with_the_weights_given(invoke, trained):
    recipe, weights = trained / "recipe.resolved.yaml", trained / "best.safetensors"
    by_recipe = invoke("eval", recipe, "--weights", weights, "--json")
    assert by_recipe.exit_code == 0, by_recipe.output
    assert json.loads(by_recipe.stdout) == json.loads(invoke("eval", weights, "--json").stdout)
    assert invoke("eval", recipe).exit_code == 2


def test_eval_set_changes_evaluated_recipe(invoke, trained):
    result = invoke("eval", trained, "--set", "data.test.length=2", "--json")
    assert json.loads(result.stdout)["metrics"]["box/seen"] == 4


def test_pictures_and_predictions_of_a_folder_are_written(invoke, trained, photos, tmp_path):
    result = invoke("predict", photos, "--model", trained, "--output", tmp_path / "found")
    assert result.exit_code == 0, result.output
    printed = result.stdout.replace("\n", "")
    assert f"3 images, scores from 0.50; in {tmp_path / 'found'}: 3 .png files, predictions.json" in printed
    written = sorted(path.name for path in (tmp_path / "found").iterdir())
    assert written == [".det-predict.json", "000000.png", "000001.png", "000002.png", "predictions.json"]
    assert (tmp_path / "found" / "000000.png").read_bytes() != (photos / "000000.png").read_bytes()
    entries = json.loads((tmp_path / "found" / "predictions.json").read_text())
    assert {entry["image_id"] for entry in entries} == {0, 1, 2}
    assert {entry["category_id"] for entry in entries} == {10, 20}
    assert all(entry["score"] >= 0.5 and len(entry["bbox"]) == 4 for entry in entries)
    expected = Detector.load(trained, device="cpu")(photos / "000001.png").to_coco(1)
    got = [entry for entry in entries if entry["image_id"] == 1]
    assert got == [
        {
            **entry,
            "bbox": pytest.approx(entry["bbox"]),
            "score": pytest.approx(entry["score"]),
            "file_name": "000001.png",
        }
        for entry in expected
    ]


def test_predict_pattern_means_matching_files(invoke, trained, photos):
    result = invoke("predict", f"{photos}/*[12].png", "--model", trained, "--json")
    assert {entry["file_name"] for entry in json.loads(result.stdout)} == {"000001.png", "000002.png"}


def test_json_alone_writes_no_file(invoke, trained, photos, tmp_path):
    before = set(tmp_path.rglob("*"))
    assert invoke("predict", photos / "000000.png", "--model", trained, "--json").exit_code == 0
    assert set(tmp_path.rglob("*")) == before


def test_without_an_output_pictures_go_to_predictions(invoke, trained, photos, tmp_path):
    result = invoke("predict", photos / "000000.png", "--model", trained)
    assert "predictions" in result.stdout
    assert (tmp_path / "predictions" / "000000.png").exists()


def test_predict_bad_image_is_reported_and_others_go_on(invoke, trained, photos, tmp_path):
    (photos / "000001.png").write_bytes((photos / "000001.png").read_bytes()[:60])
    (photos / "notes.jpg").write_text("no image")
    result = invoke("predict", photos, photos / "missing.png", "--model", trained, "--output", tmp_path / "found")
    assert result.exit_code == 1
    for name in ("000001.png", "notes.jpg", "missing.png"):
        assert any(line.startswith("error: ") and name in line for line in result.stderr.splitlines())
    assert "3 of 5 images could not be read" in result.stderr
    written = {path.name for path in (tmp_path / "found").iterdir()}
    assert written == {".det-predict.json", "000000.png", "000002.png", "predictions.json"}


def test_images_of_one_name_from_two_folders_keep_apart(invoke, trained, photos, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "000000.png").write_bytes((photos / "000001.png").read_bytes())
    result = invoke(
        "predict", photos / "000000.png", other / "000000.png", "--model", trained, "--output", tmp_path / "found"
    )
    assert result.exit_code == 0
    assert (tmp_path / "found" / "000000_2.png").exists()
    entries = json.loads((tmp_path / "found" / "predictions.json").read_text())
    assert {entry["image_id"] for entry in entries} == {1, 2}


def test_predict_again_leaves_no_file_of_the_run_before(invoke, trained, photos, tmp_path):
    found = tmp_path / "found"
    for name, given in (("000000.png", ()), ("000001.png", ("--save", "pictures"))):
        assert invoke("predict", photos / name, "--model", trained, "--output", found, *given).exit_code == 0
    assert {path.name for path in found.iterdir()} == {".det-predict.json", "000001.png"}
    result = invoke("predict", photos, "--model", trained, "--output", photos)
    assert (result.exit_code, len(list(photos.iterdir()))) == (2, 3)
    assert "--output" in result.stderr


def test_predict_unreadable_images_alone_leave_no_folder(invoke, trained, tmp_path):
    (tmp_path / "broken.png").write_text("no image")
    result = invoke("predict", tmp_path / "broken.png", "--model", trained, "--output", tmp_path / "found")
    assert result.exit_code == 1
    assert "1 of 1 image could not be read" in result.stderr
    assert not (tmp_path / "found").exists()


def test_predict_only_some_classes_and_the_best_of_them(invoke, trained, photos):
    def entries(*given):
        result = invoke("predict", photos, "--model", trained, "--json", *given)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout), result.stderr

    assert {entry["category_id"] for entry in entries("--classes", "blue")[0]} == {20}
    assert {entry["category_id"] for entry in entries("--classes", "blue,red")[0]} == {10, 20}
    found, _ = entries("--max", "1", "--threshold", "0")
    assert [entry["image_id"] for entry in found] == [0, 1, 2]
    nothing, lines = entries("--threshold", "1")
    assert nothing == []
    assert "nothing found; the best score is 0." in lines
    result = invoke("predict", photos, "--model", trained, "--classes", "bleu")
    assert result.exit_code == 2
    assert "classes: the model has no class 'bleu'; did you mean 'blue'?" in result.stderr


def test_predict_labels_and_lines_are_drawn_as_asked(invoke, trained, photos, tmp_path):
    pictures = set()
    for number, given in enumerate(([], ["--hide-labels"], ["--hide-labels", "--line-width", "3"])):
        invoke("predict", photos / "000000.png", "--model", trained, "--output", tmp_path / str(number), *given)
        pictures.add((tmp_path / str(number) / "000000.png").read_bytes())
    assert len(pictures) == 3


def test_predict_writers_and_tiles_name_their_package():
    assert {known.provider(name, "writers") for name in ("crops", "csv", "voc", "yolo")} == {"det-inspect"}
    assert known.provider("iuv", "writers") == "det-densepose"
    assert known.provider("predict --tile", "commands") == "det-inspect"


@pytest.mark.parametrize("given", ["empty", "nothing*.png"])
def test_predict_without_images_is_error(invoke, trained, tmp_path, given):
    (tmp_path / "empty").mkdir()
    result = invoke("predict", given, "--model", trained)
    assert result.exit_code == 2
    assert given in result.stderr


def test_broken_checkpoint_is_one_line_and_exit_code_2(invoke, trained, photos, tmp_path):
    (tmp_path / "half.safetensors").write_bytes((trained / "best.safetensors").read_bytes()[:100])
    result = invoke("predict", photos, "--model", tmp_path / "half.safetensors")
    assert result.exit_code == 2
    assert "half.safetensors: is damaged" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_predict_tta_without_det_inspect_error_names_package(invoke, trained, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "det_inspect", None)
    result = invoke("predict", photos, "--model", trained, "--output", tmp_path / "found", "--tta")
    assert result.exit_code != 0
    shown = f"{result.output}{result.exception}"
    assert "Detector.augmented: needs det-inspect, which is not installed" in shown


def test_views_are_evaluated_on_images_as_stored(invoke, trained, monkeypatch):
    """A stand-in for the views: the test of a real detector with its nine sizes would take minutes."""
    seen = []

    def augmented(self):
        plain = self.model
        self.model.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].sizes)))
        return Detector(plain, self.classes, (), self.category_ids, self.device)

    monkeypatch.setattr(Detector, "augmented", augmented)
    resized = 'data.eval_transforms=[{type: "det_core.data:ResizeShortestEdge", size: 96}]'
    result = invoke("eval", trained, "--split", "val", "--set", resized, "--tta", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["metrics"]["box/recall"] > 0
    stored = {standins.Squares()[0].size}
    assert {size for sizes in seen for size in sizes} == stored
