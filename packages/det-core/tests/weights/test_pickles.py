"""Pickles of arrays are read whatever wrote them; everything else in one is refused, and none of it is run."""

import collections
import functools
import os
import pickle
import pickletools
import struct
import subprocess

import numpy as np
import pytest
from det_core.errors import WeightsError
from det_core.weights.reading import read_pickle
from hypothesis import given
from hypothesis import strategies as st

STATE = {
    "model": {
        "conv.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
        "conv.bias": np.zeros(0, np.float32),
        "count": np.array(7, np.int64),
        "half": np.array([0.5, -2], np.float16),
        "mask": np.array([True, False]),
        "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "other end first": np.arange(3, dtype=">i4"),
    },
    "matching_heuristics": True,
    "iteration": 90_000,
    "scalar": np.float64(2.5),
    "anything": ["text", b"bytes", (1, 2.5, None), {3}, collections.OrderedDict(a=1)],
}


def same(found):
    assert found.keys() == STATE.keys()
    for name, array in STATE["model"].items():
        assert found["model"][name].dtype == array.dtype.newbyteorder("=")
        assert found["model"][name].shape == array.shape
        assert np.array_equal(found["model"][name], array)
    assert {**found, "model": None} == {**STATE, "model": None}
    return True


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pkl"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_read(path, protocol):
    path.write_bytes(pickle.dumps(STATE, protocol))
    assert same(read_pickle(path))


def test_names_of_older_and_newer_numpy_are_known(path):
    content = pickle.dumps(STATE, 2)
    assert b"numpy._core.multiarray" in content or b"numpy.core.multiarray" in content
    for name in (b"numpy.core.", b"numpy._core."):
        path.write_bytes(content.replace(b"numpy._core.", name))
        assert same(read_pickle(path))


def test_pickle_of_python_2_is_read(path):
    # What Python 2.7 wrote with protocol 2: text and the numbers of arrays are both of its type str.
    numbers = struct.pack("<2f", 1.5, -3)
    dtype = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    state = b"(K\x01K\x02\x85" + dtype + b"\x89U\x08" + numbers + b"tb"
    path.write_bytes(b"\x80\x02}U\x05blobs}U\x07conv1_w" + array + state + b"ss.")
    found = read_pickle(path)
    assert list(found) == ["blobs"]
    assert found["blobs"]["conv1_w"].tolist() == [1.5, -3.0]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    ),
    st.integers(0, pickle.HIGHEST_PROTOCOL),
)
def test_read_pickle_plain_data_round_trips(value, protocol):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.pkl"
        path.write_bytes(pickle.dumps(value, protocol))
        assert read_pickle(path) == value


def test_part_that_is_there_twice_stays_one_part(path):
    array = np.ones(3)
    path.write_bytes(pickle.dumps([array, array]))
    first, second = read_pickle(path)
    assert first is second


class Reduced:
    """Pickles to a call of anything."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Built:
    """Pickles to a call, and changes what it returned."""

    def __init__(self, call, state):
        self.parts = (*call, state)

    def __reduce__(self):
        return self.parts


MARK = "ran"
RECONSTRUCT = np._core.multiarray._reconstruct


def program(text):
    """A pickle written by hand, of protocol 0 or 2."""
    return text if text.endswith(b".") else text + b"."


TRICKS = {
    "a command": pickle.dumps(Reduced(os.system, f"touch {MARK}")),
    "a process": pickle.dumps(Reduced(subprocess.run, ["touch", MARK])),
    "eval": pickle.dumps(Reduced(eval, f"open({MARK!r}, 'w')")),
    "exec among weights": pickle.dumps({"model": {"a": Reduced(exec, f"open({MARK!r}, 'w')")}}),
    "an opened file": pickle.dumps(Reduced(open, MARK, "w")),
    "an attribute of an attribute": program(b"\x80\x04\x8c\x05numpy\x8c\x16ndarray.__subclasses__\x93)R"),
    "a name made while reading": program(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R"),
    "a name of Python 2": program(b'c__builtin__\neval\n(S\'open("ran", "w")\'\ntR'),
    "an instance": program(b"(S'touch ran'\nios\nsystem\n"),
    "an object": program(b"(cos\nsystem\nS'touch ran'\no"),
    "a new object": program(b"\x80\x02cos\nsystem\n)\x81"),
    "getattr": program(b"c__builtin__\ngetattr\n(cnumpy\nndarray\nS'__class__'\ntR"),
    "import by numpy": program(b'cnumpy.testing._private.utils\nrunstring\n(S\'open("ran", "w")\'\n}tR'),
    "a partial function": pickle.dumps(functools.partial(os.system, f"touch {MARK}")),
    "another codec": pickle.dumps(Reduced(__import__("_codecs").encode, "a", "zlib_codec")),
    "a change of the reader": program(b"\x80\x02c_codecs\nencode\n}U\x08__code__K\x01sb"),
    "a change of the reader by attributes": program(b"\x80\x02cnumpy\ndtype\nN}U\x05_makeK\x01s\x86b"),
    "a persistent part": program(b"Pos.system\n"),
    "a registered extension": program(b"\x80\x02\x82\x01"),
    "an array of objects": pickle.dumps(np.array([{}, []], dtype=object)),
    "an array of records": pickle.dumps(np.zeros(2, [("a", "f4")])),
    "a large bytearray": pickle.dumps(Reduced(bytearray, 10**12)),
    "a large memo": program(b"\x80\x02Kar\xff\xff\xff\x7f"),
    "an array larger than its numbers": pickle.dumps(
        Built((RECONSTRUCT, (np.ndarray, (0,), b"b")), (1, (10**9,), np.dtype("f4"), False, b""))
    ),
    "a function in place of weights": program(b"c_codecs\nencode\n"),
}


@pytest.mark.parametrize("name", TRICKS)
def test_read_pickle_hostile_is_refused_without_execution(path, monkeypatch, name):
    monkeypatch.chdir(path.parent)
    path.write_bytes(TRICKS[name])
    with pytest.raises(WeightsError) as raised:
        read_pickle(path)
    assert str(raised.value).startswith(str(path))
    assert "holds more than arrays, and was not read" in str(raised.value), str(raised.value)
    assert not (path.parent / MARK).exists()


@pytest.mark.parametrize("name", ["a command", "eval", "exec among weights", "an opened file", "a partial function"])
def test_tricks_do_work_on_the_ordinary_reader(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    loaded = pickle.loads(TRICKS[name])
    if callable(loaded):
        loaded()
    del loaded
    assert (tmp_path / MARK).exists()


def test_refused_name_is_reported(path):
    path.write_bytes(pickle.dumps(Reduced(os.system, "true")))
    with pytest.raises(WeightsError, match=r"it asks for (posix|nt)\.system; it may be hostile"):
        read_pickle(path)


def test_read_pickle_after_hostile_file_is_unaffected(path):
    for name in ("a change of the reader", "a change of the reader by attributes"):
        path.write_bytes(TRICKS[name])
        with pytest.raises(WeightsError):
            read_pickle(path)
        path.write_bytes(pickle.dumps(STATE))
        assert same(read_pickle(path))


def test_read_pickle_repeated_bytes_need_bounded_memory(path):
    # One large piece of bytes, and a thousand arrays made of it.
    shared = b"x" * 100_000
    arrays = [
        Built(
            (np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b")), (1, (100_000,), np.dtype("u1"), False, shared)
        )
        for _ in range(1000)
    ]
    path.write_bytes(pickle.dumps(arrays))
    assert path.stat().st_size < 500_000
    with pytest.raises(WeightsError, match="it makes more than 16 MiB of what it holds"):
        read_pickle(path)


def test_read_pickle_nested_lists_end_in_bounded_time(path):
    value = [1]
    for _ in range(60):
        value = [value, value]
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(WeightsError, match="it has more than 500000 parts"):
        read_pickle(path)


@pytest.mark.parametrize("depth", [20_000, 400_000])
def test_key_of_tuples_in_tuples_does_not_crash(path, depth):
    path.write_bytes(b"\x80\x02}K\x01" + b"\x85" * depth + b"K\x02s.")
    with pytest.raises(WeightsError):
        read_pickle(path)


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html><html></html>", b"\x80\x05", b"version https://git-lfs", b"."]
)
def test_read_pickle_of_other_bytes_is_damaged(path, content):
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged, or no weight file"):
        read_pickle(path)


def test_file_cut_anywhere_is_damaged(path):
    content = pickle.dumps(STATE, 2)
    ends = [position for _, _, position in pickletools.genops(content)]
    for end in {*ends[1:], *(position + 1 for position in ends[:-1])}:
        path.write_bytes(content[:end])
        with pytest.raises(WeightsError):
            read_pickle(path)
