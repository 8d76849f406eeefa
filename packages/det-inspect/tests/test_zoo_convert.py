"""`det zoo convert` writes weight files as safetensors, whole or not at all."""

import os
import pickle

import numpy as np
import torch
from click.testing import CliRunner
from det_core import Detector
from det_core.cli.main import det
from safetensors.torch import load_file


def run(*arguments):
    return CliRunner().invoke(det, ["zoo", "convert", *map(str, arguments)])


def test_zoo_convert_pickle_keeps_tensors(tiny, tmp_path):
    out = tmp_path / "out.safetensors"
    result = run(tiny.file, "-o", out)
    assert result.exit_code == 0, result.output
    assert f"{len(tiny.state)} tensors are in {out}" in result.output
    found = load_file(out)
    assert found.keys() == tiny.state.keys()
    for name, tensor in found.items():
        np.testing.assert_array_equal(tensor.numpy(), tiny.state[name])
    assert Detector.load("squares_r1_1x", weights=out, device="cpu").model.head.bias.any()


def test_zoo_convert_torch_file_defaults_to_same_folder(tmp_path):
    torch.save({"a": torch.arange(3), "b": torch.arange(3)}, tmp_path / "net.pth")
    assert run(tmp_path / "net.pth").exit_code == 0
    assert load_file(tmp_path / "net.safetensors")["b"].tolist() == [0, 1, 2]


def test_tensors_that_share_memory_are_both_written(tmp_path):
    shared = torch.arange(6).reshape(2, 3)
    torch.save({"a": shared, "b": shared.T}, tmp_path / "net.pth")
    assert run(tmp_path / "net.pth").exit_code == 0
    assert load_file(tmp_path / "net.safetensors")["b"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_zoo_convert_with_recipe_reports_upgrades(tiny, tmp_path):
    older = {**tiny.state, "pixel_mean": np.zeros(3, np.float32)}
    (tmp_path / "older.pkl").write_bytes(pickle.dumps({"model": older}))
    out = tmp_path / "new.safetensors"
    result = run(tmp_path / "older.pkl", "-o", out, "--recipe", "squares_r1_1x")
    assert result.exit_code == 0, result.output
    assert "upgraded: stored buffers; fits det-tiny/squares_r1_1x" in result.output
    assert load_file(out).keys() == tiny.state.keys()


def test_zoo_convert_weights_of_another_model_are_refused(tiny, tmp_path):
    (tmp_path / "other.pkl").write_bytes(pickle.dumps({"model": {"other.weight": np.zeros(2, np.float32)}}))
    result = run(tmp_path / "other.pkl", "--recipe", "squares_r1_1x")
    assert result.exit_code == 2
    assert "does not fit Tiny" in result.stderr
    assert not (tmp_path / "other.safetensors").exists()


def test_zoo_convert_existing_file_requires_force(tiny, tmp_path):
    out = tmp_path / "out.safetensors"
    out.write_text("precious")
    result = run(tiny.file, "-o", out)
    assert (result.exit_code, out.read_text()) == (2, "precious")
    assert "is there already; choose another --output, or --force" in result.stderr
    assert run(tiny.file, "-o", out, "--force").exit_code == 0
    assert load_file(out).keys() == tiny.state.keys()


def test_zoo_convert_url_requires_output_with_safetensors_suffix(tiny, tmp_path):
    address = f"{tiny.server.url}/{tiny.file.name}"
    assert "--output FILE.safetensors is required" in run(address).stderr
    assert "must end in .safetensors" in run(tiny.file, "-o", tmp_path / "out.pth").stderr
    assert run(address, "-o", tmp_path / "out.safetensors").exit_code == 0


class Trick:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_a_file_is_not_run(tmp_path):
    (tmp_path / "trick.pkl").write_bytes(pickle.dumps({"model": {"a": Trick(tmp_path / "ran")}}))
    result = run(tmp_path / "trick.pkl")
    assert result.exit_code == 2
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "trick.safetensors").exists()


def test_zoo_convert_missing_output_folder_is_error(tiny, tmp_path):
    result = run(tiny.file, "-o", tmp_path / "nowhere" / "out.safetensors")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
