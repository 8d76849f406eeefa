"""Weight files, checkpoints and states that ask for years or for gigabytes are refused at once, in one sentence."""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from det_core.errors import WeightsError
from det_core.weights import read
from det_safeload.archives import read_archive
from hostile import read_apart, require_refused
from safetensors.torch import save_file

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}


def shared_tuples(levels, ending):
    """Tuples of one tuple twice, whose hash takes 2 ** levels steps, and what is done with them."""
    steps = b"".join(b"q%c0h%ch%c\x86" % (n, n, n) for n in range(levels))
    return b"\x80\x02" + ending[0] + b"K\x01\x85" + steps + ending[1]


def flood(pairs):
    """A dictionary with keys that all have one hash: the tuples of -1 and -2, which Python hashes alike."""
    keys = b"".join(
        b"(" + b"".join(b"J" + struct.pack("<i", -1 - (n >> bit & 1)) for bit in range(17)) + b"tN"
        for n in range(pairs)
    )
    return b"\x80\x02}(" + keys + b"u."


def text(content):
    return b"X" + struct.pack("<I", len(content)) + content


ENCODE = b"c_codecs\nencode\nq\x01"
LATIN = text(b"latin1") + b"q\x02"
NUMPY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
FLOAT = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
LONG = b"\x8b" + struct.pack("<i", 130_000) + b"\x7f" * 130_000  # a number of 300 000 digits

PICKLES = {
    "tuples as a key": shared_tuples(90, (b"}", b"K\x01s.")),
    "tuples in a set": shared_tuples(90, (b"c__builtin__\nset\n]", b"a\x85R.")),
    "tuples in a frozen set": b"\x80\x04(" + shared_tuples(90, (b"", b"\x91."))[2:],
    "tuples as a key of an ordered dictionary": shared_tuples(
        90, (b"ccollections\nOrderedDict\n](]", b"aK\x01ae\x85R.")
    ),
    "tuples as weights": shared_tuples(90, (b"}X\x01\x00\x00\x00a", b"s.")),
    "keys of one hash": flood(60_000),
    "numbers of one hash": b"\x80\x02}("
    + b"".join(b"\x8a\x14" + (n * (2**61 - 1) << 60).to_bytes(20, "little") + b"N" for n in range(1, 60_000))
    + b"u.",
    "dictionaries of dictionaries": b"\x80\x02}q\x00"
    + b"".join(b"}(K\x01h%cK\x02h%cuq%c0" % (n, n, n + 1) for n in range(90))
    + b"0h\x5a.",
    "lists of lists": b"\x80\x02]q\x00" + b"".join(b"](h%ch%ceq%c0" % (n, n, n + 1) for n in range(90)) + b"0h\x5a.",
    "lists in lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a list of itself": b"\x80\x02]q\x00h\x00a.",
    "a dictionary of itself": b"\x80\x02}q\x00K\x01h\x00s.",
    "lists of a long list": b"\x80\x02]("
    + b"N" * 50_000
    + b"eq\x00]("
    + b"c__builtin__\nlist\nh\x00\x85R" * 4000
    + b"e.",
    "texts of a long text": b"\x80\x02"
    + ENCODE
    + LATIN
    + text(b"a" * 60_000)
    + b"q\x03]("
    + b"h\x01h\x03h\x02\x86R" * 9000
    + b"e.",
    "copies of a dictionary": b"\x80\x02}("
    + b"".join(b"J%sN" % struct.pack("<i", n) for n in range(20_000))
    + b"uq\x00]("
    + b"ccollections\nOrderedDict\nh\x00\x85R" * 3000
    + b"e.",
    "an array of an endless shape": b"\x80\x02" + NUMPY + b"(K\x01(" + LONG + b"t" + FLOAT + b"\x89U\x00tb.",
    "an array of many sides": b"\x80\x02" + NUMPY + b"(K\x01(" + b"K\x01" * 100_000 + b"t" + FLOAT + b"\x89U\x00tb.",
    "an array of large sides": b"\x80\x02" + NUMPY + b"(K\x01(" + LONG * 3 + b"t" + FLOAT + b"\x89U\x00tb.",
    "an endless number as a name": b"\x80\x02}" + LONG + b"K\x01s.",
    "an endless number as weights": b"\x80\x02}X\x01\x00\x00\x00a" + LONG + b"s.",
    "many digits": b"L" + b"9" * 900_000 + b"L\n.",
    "a text of 10 GB": b"\x80\x04\x8d" + struct.pack("<Q", 10**10) + b"a.",
    "a list of names": b"\x80\x02](" + b"cos\nsystem\n" * 10 + b"e.",
    "a name of 1 MB": b"c" + b"a" * 500_000 + b"\n" + b"b" * 500_000 + b"\n.",
    "a name with escapes": b"c\x1b[31mred\n\x1b[2J\n.",
    "empty dictionaries": b"\x80\x02](" + b"}" * 2_000_000 + b"e.",
    "marks": b"\x80\x02" + b"(" * 2_000_000 + b".",
    "a high place in the memo": b"\x80\x02]r\xff\xff\xff\x7f.",
    "records": pickle.dumps({"a": np.zeros(3, [("x", "f4"), ("y", "O")])}, 2),
    "objects": pickle.dumps({"a": np.array([1, "a"], object)}, 2),
    "texts in an array": pickle.dumps({"a": np.array(["a", "b"])}, 2),
    "dates": pickle.dumps({"a": np.array(["2020"], "M8[D]")}, 2),
    "a message of 10 MB": pickle.dumps({"a" * 10**7: "b"}, 2),
    "names of 10 MB": pickle.dumps({"a": {"b" * 10**7: np.zeros(2)}, "b": 1}, 2),
}


def tensor_program(size, stride, kind=b"FloatStorage", count=1, offset=0, where=b"0"):
    """The pickle of {"w": tensor} as torch.save writes it."""

    def number(n):
        raw = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw if len(raw) < 256 else b"\x8b" + struct.pack("<i", len(raw)) + raw

    def numbers(values):
        return b"(" + b"".join(map(number, values)) + b"t"

    storage = b"(" + text(b"storage") + b"ctorch\n" + kind + b"\n" + text(where) + text(b"cpu") + number(count) + b"tQ"
    return (
        b"\x80\x02}"
        + text(b"w")
        + b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + number(offset)
        + numbers(size)
        + numbers(stride)
        + b"\x89ccollections\nOrderedDict\n)RtRs."
    )


def archive(program, files=(), method=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        made.writestr("archive/data.pkl", program)
        made.writestr("archive/version", "3\n")
        for name, content in files:
            made.writestr(f"archive/{name}", content)
    return stream.getvalue()


def saved(value, **options):
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def old_tar():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = b"\x80\x02cos\nsystem\n."
            about = tarfile.TarInfo(name)
            about.size = len(content)
            made.addfile(about, io.BytesIO(content))
    return stream.getvalue()


ONE = [("data/0", b"\0\0\0\0")]
ARCHIVES = {
    "a tensor of a stride of 0": archive(tensor_program([10**9], [0]), ONE),
    "several sides of a stride of 0": archive(tensor_program([10**5, 10**5], [0, 0]), ONE),
    "a tensor beyond its storage": archive(tensor_program([10], [1]), ONE),
    "a tensor before its storage": archive(tensor_program([1], [1], offset=-1), ONE),
    "a stride below 0": archive(tensor_program([1], [-1]), ONE),
    "a tensor of an endless shape": archive(tensor_program([10**300_000], [1]), ONE),
    "an endless stride": archive(tensor_program([1], [10**300_000]), ONE),
    "a tensor of many sides": archive(tensor_program([1] * 50_000, [1] * 50_000), ONE),
    "a storage that is not there": archive(tensor_program([1], [1], where=b"7"), ONE),
    "a storage of another length": archive(tensor_program([1], [1], count=10**9), ONE),
    "a storage of an endless length": archive(tensor_program([1], [1], count=10**300_000), ONE),
    "a storage of quantized numbers": archive(tensor_program([1], [1], kind=b"QInt8Storage"), ONE),
    "a compressed storage of 4 GB": archive(
        tensor_program([1], [1], count=2**20), [("data/0", b"\0" * 2**28)], zipfile.ZIP_DEFLATED
    ),
    "a compressed program": archive(tensor_program([1], [1]) + b"\0" * 2**28, ONE, zipfile.ZIP_DEFLATED),
    "a program in Python": archive(tensor_program([1], [1]), [*ONE, ("code/__torch__.py", "import os")]),
    "another order of bytes": archive(tensor_program([1], [1]), [*ONE, ("byteorder", "big")]),
    "no program": archive(b"", ONE),
    "tuples as a key": archive(PICKLES["tuples as a key"], ONE),
    "dictionaries of dictionaries": archive(PICKLES["dictionaries of dictionaries"], ONE),
    "copies of a dictionary": archive(PICKLES["copies of a dictionary"], ONE),
    "a sparse tensor": saved({"w": torch.eye(3).to_sparse()}),
    "a compressed sparse tensor": saved({"w": torch.eye(3).to_sparse_csr()}),
    "a quantized tensor": saved({"w": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}),
    "a whole model": saved(torch.nn.Linear(2, 2)),
    "a whole model of before 1.6": saved(torch.nn.Linear(2, 2), _use_new_zipfile_serialization=False),
    "no tensors": saved({"w": 1, "v": "x"}),
    "a list": saved([torch.ones(2)]),
    "many tensors": saved({"w": [torch.ones(0)] * 3, "v": 2}),
    "a tar archive": old_tar(),
    "a stream with a storage of 1 TB": pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    + pickle.dumps(1001, 2)
    + pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2)
    + tensor_program([1], [1], count=2**40)
    + pickle.dumps(["0"], 2)
    + struct.pack("<q", 2**40),
    "a stream with tuples as a key": pickle.dumps(0x1950A86A20F9469CFC6C, 2) + PICKLES["tuples as a key"],
}
if hasattr(torch, "quantize_per_tensor") is False:  # pragma: no cover (torch may drop it)
    ARCHIVES.pop("a quantized tensor")


def crowded_directory():
    """An archive whose list names a file 200 000 times."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        made.writestr("archive/data.pkl", b"N.")
    content = stream.getvalue()
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entries = content[start:end] * 200_000
    return (
        content[:start] + entries + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(entries), start, 0)
    )


ARCHIVES["a crowded list of files"] = crowded_directory()


def tensors(head, room=0, metadata=None):
    about = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack("<Q", len(about)) + about + b"\0" * room


def tensor(kind="F32", shape=(1,), place=(0, 4)):
    return {"dtype": kind, "shape": list(shape), "data_offsets": list(place)}


HEADS = {
    "a head of 10 GB": struct.pack("<Q", 10**10) + b"{}",
    "a head of 2 ** 64": struct.pack("<Q", 2**64 - 1) + b"{}",
    "no head": b"",
    "half a head": b"\0\0\0",
    "a head that is a list": tensors([]),
    "a head that is a number": tensors(b"1"),
    "a head of many digits": tensors(b'{"w": ' + b"9" * 500_000 + b"}"),
    "a head nested deep": tensors(b'{"w": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "a head of 9 MB": tensors(b'{"w": {}' + b" " * 9_000_000 + b"}"),
    "many tensors": tensors({f"w{n}": tensor(shape=(0,), place=(0, 0)) for n in range(60_000)}),
    "metadata that are a list": tensors({"__metadata__": [], "w": tensor()}, 4),
    "metadata that are a text": tensors({"__metadata__": "a", "w": tensor()}, 4),
    "metadata of numbers": tensors({"__metadata__": {"det": 1}, "w": tensor()}, 4),
    "metadata of metadata": tensors({"__metadata__": {"det": {"a": "b"}}, "w": tensor()}, 4),
    "metadata of nothing": tensors({"__metadata__": None, "w": tensor()}, 4),
    "a type that is none": tensors({"w": tensor("F33")}, 4),
    "a type of half bytes": tensors({"w": tensor("F4", (2,), (0, 1))}, 1),
    "a type that is a number": tensors({"w": tensor(3)}, 4),
    "a shape below 0": tensors({"w": tensor(shape=(-1,))}, 4),
    "an endless shape": tensors(b'{"w": {"dtype": "F32", "shape": [' + b"9" * 4000 + b'], "data_offsets": [0, 4]}}', 4),
    "a shape of nothing": tensors({"w": {**tensor(), "shape": None}}, 4),
    "a shape of fractions": tensors({"w": tensor(shape=(1.5,))}, 4),
    "many sides": tensors({"w": tensor(shape=(1,) * 10_000)}, 4),
    "large sides of nothing": tensors({"w": tensor(shape=(0, 2**61, 2**61, 2**61), place=(0, 0))}),
    "a place behind the end": tensors({"w": tensor(place=(0, 400), shape=(100,))}, 4),
    "a place in reverse": tensors({"w": tensor(place=(4, 0))}, 4),
    "places that overlap": tensors({"w": tensor(), "v": tensor()}, 4),
    "a tensor that is a text": tensors({"w": "a"}, 4),
    "a name with escapes": tensors({"\x1b[31mw": tensor("F33")}, 4),
    "a name of 1 MB": tensors({"w" * 10**6: tensor("F33")}, 4),
    "noise": bytes(range(256)) * 20,
}
KINDS = {".pkl": PICKLES, ".pth": ARCHIVES, ".safetensors": HEADS}


@pytest.fixture(scope="module")
def endings(tmp_path_factory):
    """How `read` ends for every file, all of a suffix in one process."""
    folder = tmp_path_factory.mktemp("bombs")
    found = {}
    for suffix, files in KINDS.items():
        sound = folder / f"sound{suffix}"
        if suffix == ".pkl":
            sound.write_bytes(pickle.dumps({key: value.numpy() for key, value in STATE.items()}, 2))
        else:
            (save_file if suffix == ".safetensors" else torch.save)(STATE, sound)
        paths = [folder / f"{number}{suffix}" for number in range(len(files))]
        for path, content in zip(paths, files.values(), strict=True):
            path.write_bytes(content)
        endings = read_apart("det_core.weights:read", paths, sound)
        found |= {(suffix, name): endings[path.name] for name, path in zip(files, paths, strict=True)}
    return found


@pytest.mark.parametrize(("suffix", "name"), [(suffix, name) for suffix, files in KINDS.items() for name in files])
def test_file_that_asks_for_too_much_is_refused(endings, suffix, name):
    ending = endings[suffix, name]
    if name not in ("large sides of nothing",):
        require_refused(ending)
    assert "weights_only" not in ending.text
    assert "Traceback" not in ending.text


def test_refused_tar_archive_gives_no_advice_to_run_it(endings):
    assert "it is a tar archive, as torch wrote in 2016" in endings[".pth", "a tar archive"].text


@pytest.mark.parametrize("new", [True, False], ids=["zip", "stream"])
def test_read_weights_every_tensor_dtype_round_trips(tmp_path, new):
    numbers = torch.arange(20.0)
    state = {
        "view": numbers[2:8].view(2, 3),
        "turned": numbers.view(4, 5).t(),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "bool": torch.tensor([True, False]),
        "bfloat16": torch.ones(3, dtype=torch.bfloat16),
        "uint16": torch.ones(2, dtype=torch.uint16),
        "complex": torch.ones(2, dtype=torch.complex64),
        "expanded": torch.ones(1).expand(5),
    }
    torch.save(
        {"model": OrderedDict(state), "step": 3, "plain": [None, (1, 2.5), {"a": "b"}]},
        tmp_path / "w.pth",
        _use_new_zipfile_serialization=new,
    )
    found = read_archive(tmp_path / "w.pth")
    for name, tensor in state.items():
        assert found["model"][name].dtype == tensor.dtype
        assert found["model"][name].stride() == tensor.stride()
        assert torch.equal(found["model"][name], tensor)
    assert (found["step"], found["plain"]) == (3, [None, (1, 2.5), {"a": "b"}])
    assert found["model"]["view"].untyped_storage().data_ptr() == found["model"]["turned"].untyped_storage().data_ptr()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".safetensors", ".bin"])
def test_pipe_is_no_weight_file(tmp_path, suffix):
    os.mkfifo(tmp_path / f"w{suffix}")
    with pytest.raises(WeightsError, match="it is a pipe, where a regular file is expected"):
        read(tmp_path / f"w{suffix}")
