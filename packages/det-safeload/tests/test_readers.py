"""Sound files are read as their writers meant them; what asks for more is refused, and nothing of it is run."""

import json
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from det_safeload.archives import read_archive
from det_safeload.budget import Budget, OverBudgetError
from det_safeload.machine import RefusedError
from det_safeload.pickles import read_pickle
from det_safeload.regular import open_regular, read_regular
from det_safeload.tensorfiles import require_valid_head

ARRAYS = {
    "model": {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(7)},
    "more": [1, "a", None, (2.5,)],
}
STATE = OrderedDict(weight=torch.arange(6.0).reshape(2, 3), half=torch.ones(2, dtype=torch.bfloat16))


class Harm:
    """What a hostile pickle holds."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_read_pickle_of_every_protocol_round_trips(tmp_path, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(ARRAYS, protocol))
    found = read_pickle(path)
    assert np.array_equal(found["model"]["w"], ARRAYS["model"]["w"])
    assert (found["model"]["n"], found["more"]) == (7, ARRAYS["more"])


@pytest.mark.parametrize("zipped", [True, False])
def test_read_archive_equals_torch_load(tmp_path, zipped):
    path = tmp_path / "a.pth"
    torch.save({"model": STATE, "step": 3}, path, _use_new_zipfile_serialization=zipped)
    found, expected = read_archive(path), torch.load(path, weights_only=True)
    assert found["step"] == expected["step"] == 3
    for name, tensor in expected["model"].items():
        assert found["model"][name].dtype == tensor.dtype
        assert torch.equal(found["model"][name], tensor)


def test_pickle_with_call_is_refused_without_running_it(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": Harm(tmp_path / "made")}))
    with pytest.raises(RefusedError, match=r"it asks for (posix|nt)\.mkdir"):
        read_pickle(tmp_path / "a.pkl")
    torch.save({"a": Harm(tmp_path / "made")}, tmp_path / "a.pth")
    with pytest.raises(RefusedError, match=r"it asks for (posix|nt)\.mkdir"):
        read_archive(tmp_path / "a.pth")
    assert not (tmp_path / "made").exists()


def test_pickle_of_more_parts_than_its_budget_is_refused(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(list(range(100))))
    assert read_pickle(tmp_path / "a.pkl") == list(range(100))
    with pytest.raises(OverBudgetError, match="it has more than 50 parts"):
        read_pickle(tmp_path / "a.pkl", parts=50)


def test_budget_each_limit_is_kept():
    budget = Budget(parts=2, size=2**20, depth=1)
    budget.spend_parts(2)
    budget.spend_size(2**20)
    budget.require_depth(1)
    for spend in (budget.spend_parts, lambda: budget.spend_size(1), lambda: budget.require_depth(2)):
        with pytest.raises(OverBudgetError):
            spend()


def test_safetensors_header_longer_than_file_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    head = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + bytes(8))
    require_valid_head(path)
    path.write_bytes(struct.pack("<Q", len(head)) + head + bytes(4))
    with pytest.raises(ValueError, match=r"of shape \[2\] does not fit its place"):
        require_valid_head(path)
    path.write_bytes(struct.pack("<Q", 2**40))
    with pytest.raises(ValueError, match="its head is longer than the file"):
        require_valid_head(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("read", [read_pickle, read_archive, require_valid_head, open_regular])
def test_pipe_is_refused_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe, where a regular file is expected"):
        read(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)


def test_read_regular_file_above_the_limit_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_regular(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="it has more than 4 bytes"):
        read_regular(tmp_path / "a", 4)
