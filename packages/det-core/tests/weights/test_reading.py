"""Weight files are read without running their code, and what is wrong with one is said."""

import pickle

import pytest
import torch
from det_core.errors import WeightsError
from det_core.weights import read
from safetensors.torch import save_file

STATE = {"conv.weight": torch.arange(4.0), "conv.bias": torch.zeros(0)}


class Bomb:
    """What a hostile file would hold."""

    def __reduce__(self):
        return (print, ("boom",))


def same(state):
    return list(state) == list(STATE) and all(torch.equal(state[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_read_weights_torch_file_bare_or_in_training_state(tmp_path, wrapper):
    torch.save(STATE if wrapper is None else {wrapper: STATE, "step": 3}, tmp_path / "w.pth")
    assert same(read(tmp_path / "w.pth"))


def test_read_entry_of_a_training_state_by_name(tmp_path, caplog):
    average = {name: value + 1 for name, value in STATE.items()}
    torch.save({"model": STATE, "ema_state": average, "iteration": 3}, tmp_path / "w.pth")
    assert same(read(tmp_path / "w.pth"))
    assert "its entry 'model'" in caplog.text
    assert "FILE#ema_state" in caplog.text
    caplog.clear()
    assert torch.equal(read(f"{tmp_path / 'w.pth'}#ema_state")["conv.weight"], STATE["conv.weight"] + 1)
    assert "its entry 'ema_state'" in caplog.text
    with pytest.raises(WeightsError, match=r"has no entry 'emma'.*it has model, ema_state"):
        read(f"{tmp_path / 'w.pth'}#emma")


def test_read_file_with_a_number_sign_in_its_name(tmp_path):
    torch.save(STATE, tmp_path / "run#3.pth")
    assert same(read(tmp_path / "run#3.pth"))


def test_older_format_of_torch_is_read(tmp_path):
    torch.save(STATE, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert same(read(str(tmp_path / "w.pth")))


def test_safetensors_are_read_with_or_without_metadata(tmp_path):
    save_file(STATE, tmp_path / "w.safetensors", metadata={"det": "{}"})
    assert read(tmp_path / "w.safetensors").keys() == STATE.keys()


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    torch.save({"conv.weight": Bomb()}, tmp_path / "w.pth")
    with pytest.raises(
        WeightsError, match=r"more than tensors.* it asks for __builtin__.print; it may be hostile"
    ) as raised:
        read(tmp_path / "w.pth")
    assert "weights_only" not in str(raised.value)  # torch's advice on how to let the file run its code
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError, match=r"it asks for builtins\.print"):
        read(tmp_path / "w.pkl")
    assert "boom" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([1, 2], "no state dict"),
        ({}, "no state dict"),
        ({"step": 3}, "tensors alone"),
        ({"model": {"a": torch.zeros(1), "b": "text"}}, "'b' is str"),
    ],
)
def test_files_that_hold_something_else_are_named(tmp_path, content, problem):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=problem) as error:
        read(tmp_path / "w.pth")
    assert str(error.value).startswith(str(tmp_path / "w.pth"))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_half_a_file_is_damaged(tmp_path, name):
    path = tmp_path / name
    if name == "w.pth":
        torch.save(STATE, path)
    else:
        save_file(STATE, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WeightsError, match="damaged"):
        read(path)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html><html></html>", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_read_weights_html_page_or_lfs_pointer_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=r"no weight file|no safetensors file"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["int8.pte", "int8.onnx", "int8.pt2"])
def test_exported_file_as_weights_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"ET12" * 8)
    with pytest.raises(WeightsError, match=r"exported file, which only predicts; give the checkpoint"):
        read(tmp_path / name)


def test_missing_file_and_a_folder_are_reported_apart(tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        read(tmp_path / "nowhere.pth")
    with pytest.raises(WeightsError, match="folder"):
        read(tmp_path)


@pytest.mark.parametrize("wrapper", [None, "model", "blobs"])
def test_read_weights_pickle_skips_optimizer_state(tmp_path, wrapper):
    arrays = {key: value.numpy() for key, value in STATE.items()}
    content = arrays if wrapper is None else {wrapper: {**arrays, "conv.weight_momentum": arrays["conv.weight"]}}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({**content, **({"__author__": "x"} if wrapper else {})}, 2))
    assert same(read(tmp_path / "w.pkl"))
