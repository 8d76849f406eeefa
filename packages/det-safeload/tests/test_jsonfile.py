"""jsonfile: sound files are read, all others refused with a sentence, whatever their length."""

import json
import tracemalloc
from pathlib import Path

import pytest
from det_safeload import jsonfile
from det_safeload.content import ContentError

MEGABYTE = 2**20


def test_read_json_file_of_json_dump(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    content = {"list": [1, 2.5, None, "ä"]}
    for text in (json.dumps(content).encode(), b"\xef\xbb\xbf" + json.dumps(content, ensure_ascii=False).encode()):
        path.write_bytes(text)
        assert jsonfile.read(path) == content


@pytest.mark.parametrize(
    "value", [12.25, "text " * 9000, {"k": [True, None, "é" * 40]}], ids=["numbers", "texts", "objects"]
)
def test_read_json_long_file_at_any_chunk_boundary(tmp_path: Path, value: object) -> None:
    content = [value] * (2 * MEGABYTE // len(json.dumps(value)))
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    assert jsonfile.read(path) == content


@pytest.mark.parametrize(
    "beginning",
    [b"\x00" * 1000, b"\x8a\x11 what", b"a" * 1000, b"[[[[[[[[", b'["' + b"x" * MEGABYTE, b'{"images": [1,,2', b"]"],
    ids=["zeros", "bytes", "letters", "depth", "endless text", "two commas", "closed"],
)
def test_read_json_gigabyte_of_garbage_refused_in_bounded_memory(tmp_path: Path, beginning: bytes) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as stream:
        for _ in range(-(-2 * MEGABYTE // len(beginning))):
            stream.write(beginning)
        stream.truncate(2**30)
    tracemalloc.start()
    try:
        with pytest.raises(ContentError, match="is not valid JSON"):
            jsonfile.read(path)
        assert tracemalloc.get_traced_memory()[1] < 32 * MEGABYTE
    finally:
        tracemalloc.stop()


def test_read_json_missing_truncated_or_folder_error_names_path(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="there is no such file of results; check the path"):
        jsonfile.read(tmp_path / "none.json", "file of results")
    with pytest.raises(ContentError, match="cannot be read; it is a folder, where a file is expected"):
        jsonfile.read(tmp_path)
    (tmp_path / "a.json").write_text('{"images": [{"id": 1')
    with pytest.raises(ContentError, match=r"is not valid JSON; .*cut short: get it again"):
        jsonfile.read(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b"[" + b"1" * 5000 + b"]")
    with pytest.raises(ContentError, match="is not valid JSON"):
        jsonfile.read(tmp_path / "a.json")
