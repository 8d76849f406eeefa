"""`det ray eval` with a worker in this process: the metrics of `det eval` to the last bit."""

import json
import pickle

import pytest
import tiny_detector
from det_core.errors import DataError
from det_core.evaluation import CocoEvaluator
from det_ray.evaluation import merged
from det_ray.folder import RunFolder

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture
def evaluate(command, tmp_path):
    """Runs `det eval` and `det ray eval`; returns their metrics."""

    def run(model, *options):
        code, text = command("eval", model, "--trust", "--device", "cpu", "--json", *options)
        assert code == 0, text
        arguments = ("--trust", "--output", tmp_path / "found", "--block", 4, "--json")
        code, parts = command("ray", "eval", model, *arguments, *_renamed(options))
        assert code == 0, parts
        return json.loads(text[text.index("{") :]), json.loads(parts[parts.index("{") :])

    return run


def _renamed(options):
    return ["--batch" if each == "--batch-size" else each for each in options]


@pytest.mark.parametrize("lvis", [False, True], ids=["coco", "lvis"])
def test_metrics_equal_those_of_one_process(evaluate, tmp_path, in_process, lvis):
    data = tiny_detector.write_dataset(tmp_path, 11, lvis)
    model = tiny_detector.save(tmp_path / "m.safetensors", data, masks=True)
    whole, parts = evaluate(model, "--batch-size", 2)
    assert in_process == [0, 1, 2]
    assert parts["metrics"] == whole["metrics"]
    assert (parts["threshold"], parts["notes"]) == (whole["threshold"], whole["notes"])
    assert 0 < whole["metrics"]["bbox/AP"] < 1
    assert 0 < whole["metrics"]["segm/AP"] < 1
    assert "bbox/APr" in whole["metrics"] or not lvis


def test_images_that_cannot_be_read_are_left_out_alike(evaluate, tmp_path):
    data = tiny_detector.write_dataset(tmp_path, 9) + "  on_bad_image: skip\n"
    for number in (1, 4, 5):
        (tmp_path / "images" / f"{number:05d}.png").write_bytes(b"")
    whole, parts = evaluate(tiny_detector.save(tmp_path / "m.safetensors", data, masks=True), "--batch-size", 2)
    assert parts["metrics"] == whole["metrics"]
    assert sorted(parts["notes"]) == sorted(whole["notes"])
    assert sum("left out" in note for note in parts["notes"]) == 3


def test_second_run_goes_on_and_shows_a_table(command, in_process, tmp_path):
    data = tiny_detector.write_dataset(tmp_path, 9)
    model = tiny_detector.save(tmp_path / "m.safetensors", data, masks=True)
    arguments = ("ray", "eval", model, "--trust", "--output", tmp_path / "found", "--block", 3, "--batch", 3)
    assert command(*arguments)[0] == 0
    RunFolder(tmp_path / "found").block(2).unlink()
    in_process.clear()
    code, text = command(*arguments)
    assert (code, in_process) == (0, [2])
    assert "bbox/AP50" in text
    code, text = command(*arguments, "--set", "data.workers=1")
    assert code == 2
    assert "overrides was" in text


def test_image_that_cannot_be_read_ends_the_run(command, tmp_path):
    data = tiny_detector.write_dataset(tmp_path, 3)
    (tmp_path / "images" / "00001.png").write_bytes(b"")
    model = tiny_detector.save(tmp_path / "m.safetensors", data, masks=True)
    code, text = command("ray", "eval", model, "--trust", "--output", tmp_path / "found")
    assert code == 2
    assert "00001.png" in text


def test_recipe_without_data_is_refused(command, model, tmp_path):
    code, text = command("ray", "eval", model, "--trust", "--output", tmp_path / "found")
    assert code == 2
    assert "data" in text


class _Danger:
    def __reduce__(self):
        return print, ("this ran",)


@pytest.mark.parametrize("state", [_Danger(), pytest.param(DataError("a", "b"), id="class")])
def test_states_run_no_code(tmp_path, capsys, state):
    import pyarrow as pa

    folder = RunFolder(tmp_path)
    with folder.locked():
        folder.write_block(0, pa.table({"state": [pickle.dumps({1: state})]}), {})
        with pytest.raises(DataError, match="does not hold the states"):
            merged(folder, [0], [CocoEvaluator(["a"])])
    assert "this ran" not in capsys.readouterr().out
