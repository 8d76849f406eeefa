import io
import json

import numpy as np
import pytest
import standins
import torch
from det_core import Detector
from det_core.engine import Checkpoint, train
from det_core.engine.checkpoint import save_checkpoint
from det_core.errors import CheckpointError, ConfigError, DataError, UnknownNameError, WeightsError
from PIL import Image
from rich.console import Console
from safetensors.torch import save_file


def run(folder, tree=None, **settings):
    recipe = standins.recipe(**settings)
    for path, value in (tree or {}).items():
        *parents, last = path.split(".")
        node = recipe.tree
        for key in parents:
            node = node[key]
        node[last] = value
    return train(recipe, folder, console=Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    run(folder, steps=80)
    return folder


@pytest.fixture
def detector(trained):
    return Detector.load(trained / "best.safetensors", device="cpu")


@pytest.fixture
def image():
    return standins.Squares()[0].image


def rows(result):
    found = result.detections
    return torch.cat([found.boxes, found.scores[:, None], found.labels[:, None].float()], 1)


def test_checkpoint_is_enough_to_find_objects(detector, image):
    result = detector(image)
    assert detector.classes == ("red", "blue")
    assert {detector.classes[label] for label in result.detections.labels} == {"red", "blue"}
    assert "red" in repr(result)


def test_every_way_to_give_image_gives_same_result(detector, image, tmp_path):
    pixels = image.permute(1, 2, 0).numpy()
    path = tmp_path / "image.png"
    Image.fromarray(pixels).save(path)
    expected = rows(detector(image))
    assert len(expected)
    for given in (path, str(path), Image.open(path), pixels, pixels[:, ::-1][:, ::-1]):
        torch.testing.assert_close(rows(detector(given)), expected, rtol=0, atol=0)


def test_one_image_gives_result_and_list_gives_list(detector, image):
    assert not isinstance(detector(image), list)
    assert [type(each).__name__ for each in detector([image])] == ["Result"]
    assert detector([]) == []
    assert len(detector(image for _ in range(3))) == 3


def test_detector_cpu_batch_size_defaults_to_one(detector, image):
    seen = []
    handle = detector.model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0].pixels)))
    try:
        detector([image] * 3)
        detector([image] * 3, batch_size=2)
    finally:
        handle.remove()
    assert seen == [1, 1, 1, 2, 1]


def test_detector_batch_of_mixed_sizes_equals_single_images(detector):
    random = torch.Generator().manual_seed(0)
    sizes = [(32, 48), (40, 24), (16, 16), (64, 40), (8, 8)]
    images = [torch.randint(0, 255, (3, *size), dtype=torch.uint8, generator=random) for size in sizes]
    together = detector(images, threshold=0.0, batch_size=3)
    for image, result in zip(images, together, strict=True):
        alone = detector(image, threshold=0.0)
        assert result.detections.size == tuple(image.shape[1:])
        assert torch.equal(result.image, image)
        torch.testing.assert_close(rows(result), rows(alone), rtol=1e-4, atol=1e-3)


def test_threshold_is_the_least_score(detector, image):
    everything = detector(image, threshold=0.0).detections.scores
    some = detector(image, threshold=0.3).detections.scores
    assert len(some) == int((everything >= 0.3).sum()) < len(everything)
    assert len(detector(image, threshold=1.1)) == 0


def test_results_are_in_pixels_of_image_as_given(trained, tmp_path):
    run(
        tmp_path,
        {"data.eval_transforms": [{"type": "torchvision.transforms.v2:Resize", "size": [32, 48], "antialias": False}]},
        steps=80,
    )
    small = standins.Squares()[0]
    large = small.image.repeat_interleave(4, 1).repeat_interleave(4, 2)
    resized = Detector.load(tmp_path, device="cpu")
    seen, given = resized(small.image), resized(large)
    assert given.detections.size == (128, 192)
    torch.testing.assert_close(given.image, large)
    torch.testing.assert_close(given.detections.boxes, seen.detections.boxes * 4, rtol=0, atol=0.1)


def test_result_is_drawn(detector, image):
    picture = detector(image).plot()
    assert picture.size == (48, 32)
    assert picture.tobytes() != image.permute(1, 2, 0).numpy().tobytes()


def test_result_in_coco_format_has_categories_of_dataset(detector, image):
    result = detector(image)
    written = json.loads(json.dumps(result.to_coco(image_id=17)))
    assert len(written) == len(result.detections)
    for entry, box, label in zip(written, result.detections.boxes.tolist(), result.detections.labels, strict=True):
        x0, y0, x1, y1 = box
        assert entry["image_id"] == 17
        assert entry["category_id"] == (10, 20)[label]
        assert entry["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0])


def test_load_run_folder_uses_best_or_last_checkpoint(trained, tmp_path):
    assert Detector.load(trained, device="cpu").about.metrics
    run(tmp_path, {"data.val": None}, steps=2)
    assert Detector.load(tmp_path, device="cpu").about.step == 2


def test_recipe_and_weights_of_its_model_make_detector(trained, image):
    expected = rows(Detector.load(trained, device="cpu")(image))
    loaded = Detector.load(trained / "recipe.resolved.yaml", weights=trained / "best.safetensors", device="cpu")
    torch.testing.assert_close(rows(loaded(image)), expected, rtol=0, atol=0)
    assert loaded.classes == ("red", "blue")


def test_load_weights_without_classes_numbers_them_unless_given(trained, tmp_path):
    torch.save(Detector.load(trained, device="cpu").model.state_dict(), tmp_path / "weights.pth")
    recipe, weights = trained / "recipe.resolved.yaml", tmp_path / "weights.pth"
    assert Detector.load(recipe, weights, device="cpu").classes == ("class 0", "class 1")
    assert Detector.load(recipe, weights, device="cpu", classes=("a", "b")).classes == ("a", "b")
    with pytest.raises(ConfigError, match="3 names, but the model has 2 classes"):
        Detector.load(recipe, weights, device="cpu", classes=("a", "b", "c"))


def test_checkpoint_works_where_its_data_are_not(trained, tmp_path):
    run(tmp_path, steps=1)
    path = tmp_path / "best.safetensors"
    about, _ = checkpoint_of(path)
    elsewhere = about.recipe.replace("standins:Squares", "module_that_is_not_here:Squares")
    assert elsewhere != about.recipe
    save_checkpoint(path, Detector.load(path, device="cpu").model, Checkpoint(recipe=elsewhere, classes=about.classes))
    assert Detector.load(path, device="cpu").classes == ("red", "blue")


def test_load_checkpoint_with_untrusted_imports_refused_unless_trusted(trained, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "stranger.py").write_text("from pathlib import Path\nPath('HARM').touch()\nfrom standins import Tiny\n")
    monkeypatch.chdir(tmp_path)
    about, _ = checkpoint_of(trained / "best.safetensors")
    strange = about.recipe.replace("standins:Tiny", "stranger:Tiny")
    path = tmp_path / "strange.safetensors"
    model = Detector.load(trained, device="cpu").model
    save_checkpoint(path, model, Checkpoint(recipe=strange, classes=about.classes))
    with pytest.raises(CheckpointError, match=r"on no list of an installed plugin; .*stranger:Tiny"):
        Detector.load(path)
    assert not (tmp_path / "HARM").exists()
    assert Detector.load(path, device="cpu", trust=True).classes == tuple(about.classes)


def checkpoint_of(path):
    from det_core.engine import read_checkpoint

    return read_checkpoint(path)


@pytest.mark.parametrize(
    ("given", "found", "fix"),
    [
        (torch.zeros(3, 8, 8), "torch.float32", "0 to 255 as uint8"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), r"\(8, 8, 3\)", r"permute\(2, 0, 1\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"\(2, 3, 8, 8\)", "a list of images"),
        (np.zeros((3, 8, 8), np.uint8), r"\(3, 8, 8\)", r"transpose\(1, 2, 0\)"),
        (np.zeros((8, 8), np.uint8), r"\(8, 8\)", "NumPy array"),
        (np.zeros((8, 8, 3)), "float64", "0 to 255 as uint8"),
        ([b"bytes"], "it is bytes", "give a path"),
        (3, "it is int", "give a path"),
        ([[1]], "it is list", "give a path"),
    ],
)
def test_detector_non_image_error_names_type_and_fix(detector, given, found, fix):
    with pytest.raises(DataError, match=f"is not an image that a detector takes; .*{found}.*{fix}"):
        detector(given)


@pytest.mark.parametrize(
    "given", [np.zeros((0, 5, 3), np.uint8), np.zeros((5, 0, 3), np.uint8), torch.zeros(3, 0, 0, dtype=torch.uint8)]
)
def test_array_without_pixels_is_refused(detector, given):
    with pytest.raises(DataError, match=r"has no pixels; its shape is \(.*0.*\); check how it was cut"):
        detector(given)


def test_bad_image_of_several_is_numbered(detector, image):
    with pytest.raises(DataError, match=r"images\[1\]"):
        detector([image, 5, image])


def test_file_that_is_no_image_is_named(detector, tmp_path):
    (tmp_path / "notes.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"notes\.jpg"):
        detector(tmp_path / "notes.jpg")


def test_half_a_checkpoint_is_called_damaged(trained, tmp_path):
    half = tmp_path / "half.safetensors"
    half.write_bytes((trained / "best.safetensors").read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"half\.safetensors: is damaged.*again"):
        Detector.load(half)


def test_weights_of_another_model_do_not_load(trained, tmp_path):
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, torch.nn.Linear(2, 2), checkpoint_of(trained / "best.safetensors")[0])
    with pytest.raises(WeightsError, match=r"other\.safetensors: does not fit Tiny; .*missing"):
        Detector.load(path)
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth: does not fit Tiny"):
        Detector.load(trained / "recipe.resolved.yaml", weights=tmp_path / "other.pth")


def test_load_foreign_file_error_has_fix(trained, tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="no recipe to build the model from; name the recipe"):
        Detector.load(tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="name its recipe, and give this file as the weights"):
        Detector.load(tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"name its recipe"):
        Detector.load(trained / "last.state.pt")


def test_load_missing_source_error_names_it():
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors: there is no such file"):
        Detector.load("nowhere.safetensors")
    with pytest.raises(UnknownNameError, match="faster_rnn"):
        Detector.load("faster_rnn")


def test_recipe_without_trained_weights_makes_no_detector(trained):
    with pytest.raises(WeightsError, match="has no trained weights; give --weights FILE"):
        Detector.load(trained / "recipe.resolved.yaml")


def test_checkpoint_takes_no_other_weights(trained):
    with pytest.raises(ConfigError, match="a checkpoint brings its own"):
        Detector.load(trained / "best.safetensors", weights="other.pth")


def test_batch_of_none_is_refused(detector, image):
    with pytest.raises(ConfigError, match="batch_size: must be at least 1"):
        detector([image], batch_size=0)


def test_load_weights_with_their_recipe_names_the_model(trained, tmp_path):
    recipe = standins.recipe()
    recipe.tree["model"]["num_classes"] = 5
    recipe.save(tmp_path / "five.yaml")
    with pytest.raises(WeightsError, match="use it as --model, without a recipe: it holds the recipe that made it"):
        Detector.load(tmp_path / "five.yaml", weights=trained / "best.safetensors")
