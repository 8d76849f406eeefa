"""YAML of plain data: values, and refusals with their line."""

import math

import pytest
from det_safeload import yamlfile
from det_safeload.content import ContentError
from hypothesis import given
from hypothesis import strategies as st


def refused(text: str) -> str:
    with pytest.raises(ContentError) as caught:
        yamlfile.parse(text, "r.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.0e-4", 1e-4),
        ("-2E3", -2000.0),
        ("1e5", 1e5),
        (".5", 0.5),
        ("3.", 3.0),
        ("90_000", 90000),
        ("010", 10),
        ("0x1f", 31),
        ("-7", -7),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("~", None),
        ("", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("2020-01-01", "2020-01-01"),
        ("1:30", "1:30"),
        ("'3'", "3"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("_1", "_1"),
        ("torch.optim:AdamW", "torch.optim:AdamW"),
        ("[1, [a, b]]", [1, ["a", "b"]]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
    ],
)
def test_value_is_parsed(text, value):
    result = yamlfile.parse(text, "r.yaml")
    assert result == value
    assert type(result) is type(value)


def test_not_a_number_is_a_number():
    assert math.isnan(yamlfile.parse(".nan", "r.yaml"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "r.yaml, line 3: the key 'a' stands twice"),
        ("x:\n  y: 1\n  y: 2", "r.yaml, line 3: the key 'y' stands twice"),
        ("a: 'b", "is not YAML: line"),
        ("a: [1, 2", "is not YAML: line"),
        ("\ta: 1", "is not YAML: line 1"),
        ("a: *nowhere", "is not YAML: line 1: found undefined alias"),
        ("a: 1\n---\nb: 2", "is not YAML: line"),
        ("1: a", "a key must be text; got 1; put it in quotes"),
        ("[a]: b", "a key must be text"),
        ("~: b", "a key must be text"),
        ("<<: {a: 1}", "merge keys"),
        ("a: !!python/object/apply:os.system ['echo']", "the tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("a: !thing 1", "the tag '!thing' is not supported"),
        ("a: !!set {b}", "the tag 'tag:yaml.org,2002:set' is not supported"),
        ("a: !!int b", "'b' cannot be read"),
        ("a: &x [*x]", "is nested deeper than 50 levels"),
        ("[" * 100 + "]" * 100, "is nested deeper than 50 levels"),
        ("[" * 100_000, "is nested deeper than 50 levels"),
        ("a: '\x00'", "is not a text file"),
    ],
)
def test_non_plain_data_is_refused(text, words):
    assert words in refused(text)


def test_exploding_aliases_are_refused():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "its aliases stand for more than 100000 values" in refused("\n".join(lines))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff\xfe\x00\x01", "is not a text file"), (b"x" * 1_000_001, "is larger than 1 MB")],
)
def test_binary_or_oversized_file_is_refused(tmp_path, content, words):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(ContentError, match=words):
        yamlfile.read(path)


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(ContentError, match="there is no such file"):
        yamlfile.read(tmp_path / "r.yaml")
    with pytest.raises(ContentError, match="is a folder"):
        yamlfile.read(tmp_path)


def test_byte_order_mark_is_ignored(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert yamlfile.read(path) == {"a": 1, "b": 2}


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff\ufffe\uffff"))
ODD = st.sampled_from(
    ["1e-4", "no", "1:30", "~", "", "2020-01-01", "0x1f", "010", "<<", "=", "1_0", ".inf", "a: b", "- x"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | ODD
TREES = st.recursive(
    LEAVES, lambda t: st.lists(t) | st.dictionaries(TEXT.filter(lambda k: k != "<<"), t), max_leaves=20
)


@given(TREES)
def test_dump_round_trips(tree):
    again = yamlfile.parse(yamlfile.dump(tree), "r.yaml")
    assert again == tree
    assert repr(again) == repr(tree)
