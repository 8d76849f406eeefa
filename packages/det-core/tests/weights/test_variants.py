"""Generated variants of weights, recipes and states: read or refused, soon, within memory, with no traceback."""

import io
import pickle
import struct
import sys
import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from det_core import recipes
from det_core.engine.checkpoint import load_state, read_about, read_checkpoint
from det_core.errors import DetError
from det_core.weights import read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

pytestmark = pytest.mark.slow
VARIANTS = settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
HANG = 25  # seconds of the processor: five times what none may take

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}
ARRAYS = {"model": {key: value.numpy() for key, value in STATE.items()}, "n": np.float64(2), "t": [(1, "a", None), {3}]}


def saved(value, **options):
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


TRAINED = {
    "step": 3,
    "model": STATE,
    "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2, 3)}}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
    "random": torch.get_rng_state()[:40],
    "position": {"epoch": 1, "indices": list(range(20))},
    "best": None,
}
SOUND = {
    ".pkl": [pickle.dumps(ARRAYS, protocol) for protocol in range(6)],
    ".pth": [saved(STATE), saved(STATE, _use_new_zipfile_serialization=False)],
    ".safetensors": [save(STATE), save(STATE, {"det": '{"recipe": "model: {}", "classes": ["a"], "step": 1}'})],
}
STATES = [saved(TRAINED), saved(TRAINED, _use_new_zipfile_serialization=False)]
NUMBERS = st.sampled_from(
    [0, 1, -1, 127, 128, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
)
PIECES = st.one_of(
    st.binary(max_size=30),
    NUMBERS.map(lambda n: struct.pack("<Q", n % 2**64)),
    NUMBERS.map(lambda n: struct.pack("<I", n % 2**32)),
    # Instructions of pickles, alone and in bursts.
    st.lists(
        st.sampled_from([bytes([n]) for n in b"(.012NIKMJ]}l)t\x85\x86\x87ae\x94hjqrRbcicosdu\x8f\x90\x91\x93Q"]),
        max_size=60,
    ).map(b"".join),
    st.sampled_from(
        [b"cos\nsystem\n", b"ctorch\nFloatStorage\n", b"\x85R", b"PK\x05\x06", b"PK\x01\x02", b'"shape":[9]']
    ),
)


@st.composite
def damaged(draw, contents):
    """A sound file with pieces changed, put in, taken out, or repeated."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        piece = draw(PIECES)
        kind = draw(st.sampled_from(["change", "insert", "cut", "repeat", "end"]))
        if kind == "change":
            content[place : place + len(piece)] = piece
        elif kind == "insert":
            content[place:place] = piece
        elif kind == "cut":
            del content[place : place + draw(st.integers(1, 200))]
        elif kind == "repeat":
            content[place:place] = bytes(content[place : place + 40]) * draw(st.integers(1, 50))
        else:
            del content[place:]
    return bytes(content)


@st.composite
def programs(draw):
    """The pickle of an archive of torch, changed, in an archive that is sound itself."""
    source = zipfile.ZipFile(io.BytesIO(STATES[0]))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name in source.namelist():
            content = source.read(name)
            made.writestr(name, draw(damaged([content])) if name.endswith("data.pkl") else content)
    return stream.getvalue()


def peak():
    """Megabytes of memory at the highest point so far; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def require_an_end(function, content, suffix):
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"w{suffix}"
        path.write_bytes(content)
        start, before, message = time.process_time(), peak(), ""
        try:
            function(path)
        except DetError as error:
            message = str(error)
        assert time.process_time() - start < HANG
        assert peak() - before < 500
        assert len(message) < 6500
        assert not any(character < " " and character not in "\n\t" for character in message)


@VARIANTS
@given(st.sampled_from(list(SOUND)).flatmap(lambda suffix: st.tuples(damaged(SOUND[suffix]), st.just(suffix))))
def test_variants_of_weight_files_are_read_or_refused(variant):
    require_an_end(read, *variant)


@VARIANTS
@given(damaged(SOUND[".safetensors"]))
def test_variants_of_checkpoints_are_read_or_refused(content):
    require_an_end(read_about, content, ".safetensors")
    require_an_end(read_checkpoint, content, ".safetensors")


@VARIANTS
@given(st.one_of(damaged(STATES), programs()))
def test_variants_of_resume_states_are_read_or_refused(content):
    require_an_end(load_state, content, ".pt")


@VARIANTS
@given(
    st.dictionaries(
        st.sampled_from(["recipe", "classes", "category_ids", "step", "metrics", "versions", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
            max_leaves=10,
        ),
    )
)
def test_variants_of_metadata_are_read_or_refused(about):
    import json

    require_an_end(read_about, save(STATE, {"det": json.dumps(about)}), ".safetensors")


RECIPE = b"""summary: a recipe
model:
  type: torch.nn:Linear
  in_features: 3
  out_features: 2
weights: null
data: {train: {type: coco, annotations: a.json, images: images}, batch_size: 2, workers: 0}
train: {steps: 10, optimizer: {type: "torch.optim:SGD", lr: 0.1}, best_metric: null}
"""
WORDS = st.sampled_from(
    [
        b"extends: ",
        b"r.yaml",
        b"type: ",
        b"&a ",
        b"*a",
        b"<<: ",
        b"? ",
        b"- ",
        b"{",
        b"}",
        b"[",
        b"]",
        b": ",
        b"\n  ",
        b"!!int ",
        b"|\n",
        b"\t",
        b"9" * 400,
        b"1e999",
        b".nan",
        b"0x" + b"f" * 400,
        b"null",
        b"~",
        b"'",
        b'"',
        b"\\x1b",
        b"#",
        b"---\n",
        b"\xff",
        b"det_core.models:",
        b"torch.nn:Sequential",
        b"os:system",
        b"num_classes: 1000000000",
    ]
)


@st.composite
def written(draw):
    """A recipe with words and bytes of YAML put in or taken out."""
    content = bytearray(RECIPE)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(content)))
        if draw(st.booleans()):
            content[place:place] = draw(WORDS | st.binary(max_size=6)) * draw(st.sampled_from([1, 1, 1, 3, 60]))
        else:
            del content[place : place + draw(st.integers(1, 30))]
    return bytes(content)


def build(path):
    recipe = recipes.load(path)
    recipe.check()
    recipe.build_model()


@VARIANTS
@given(written())
def test_variants_of_recipes_are_built_or_refused(content):
    require_an_end(build, content, ".yaml")


@pytest.mark.parametrize("old", [False, True])
def test_read_weights_torch_file_with_numpy_values(old, tmp_path):
    content = {"state_dict": {**STATE, "more": np.arange(3.0)}, "best": np.float64(0.5), "step": np.int64(7)}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)
    found = read(tmp_path / "a.pth")
    assert found["more"].tolist() == [0, 1, 2]
    assert all(torch.equal(found[key], value) for key, value in STATE.items())
