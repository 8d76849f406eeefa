"""`det ray predict` and `det ray eval` with Ray: two workers on this machine. The rest is slow: test_failures.py."""

import json
import subprocess
import sys

import pytest
import ray
import tiny_detector


def test_two_workers_predict_each_image_once(predict, tmp_path):
    paths = tiny_detector.write(tmp_path / "images", 9)
    paths[4].write_bytes(b"")
    code, text, rows = predict(tmp_path / "images", "--block", 2, "--workers", 2)
    assert code == 1, text
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert [row["error"] for row in rows if row["error"]] == ["is not an image that can be read; the file is empty"]
    assert not ray.is_initialized()


def test_command_without_ray_names_the_missing_package(predict, monkeypatch, tmp_path):
    tiny_detector.write(tmp_path / "images", 1)
    monkeypatch.setitem(sys.modules, "ray", None)
    code, text, _ = predict(tmp_path / "images")
    assert code == 2
    assert "needs 'ray', which is not installed" in text


def test_help_imports_neither_ray_nor_torch():
    program = (
        "import sys; from click.testing import CliRunner; from det_core.cli.main import det\n"
        "for words in (['--help'], ['ray', '--help'], ['ray', 'predict', '--help'], ['ray', 'eval', '--help']):\n"
        "    assert CliRunner().invoke(det, words).exit_code == 0\n"
        "print(sorted({'ray', 'pyarrow', 'fsspec', 'torch', 'numpy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.slow
def test_two_workers_evaluate_like_one_process(command, tmp_path):
    data = tiny_detector.write_dataset(tmp_path, 11)
    model = tiny_detector.save(tmp_path / "m.safetensors", data, masks=True)
    code, text = command("eval", model, "--trust", "--device", "cpu", "--json", "--batch-size", 2)
    assert code == 0, text
    arguments = ("--trust", "--output", tmp_path / "found", "--block", 4, "--batch", 2, "--workers", 2, "--json")
    code, parts = command("ray", "eval", model, *arguments)
    assert code == 0, parts
    metrics = [json.loads(each[each.index("{") :])["metrics"] for each in (text, parts)]
    assert metrics[0] == metrics[1]
    assert 0 < metrics[0]["segm/AP"] < 1


def test_address_without_a_cluster_is_refused(predict, tmp_path):
    tiny_detector.write(tmp_path / "images", 1)
    code, text, _ = predict(tmp_path / "images", "--address", "127.0.0.1:1")
    assert code == 2
    assert "there is no cluster at 127.0.0.1:1" in text


@pytest.mark.slow
def test_more_gpus_than_there_are_is_refused(predict, tmp_path):
    if ray_gpus():
        pytest.skip("this machine has a GPU")
    tiny_detector.write(tmp_path / "images", 1)
    code, text, _ = predict(tmp_path / "images", "--gpus-per-worker", 1)
    assert code == 2
    assert "this machine has 0 GPUs" in text


def ray_gpus():
    import torch

    return torch.cuda.device_count()
