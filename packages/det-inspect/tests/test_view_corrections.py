"""Marks, corrected copies and exported pictures of `det view`: the original stays, nothing is overwritten."""

import json

import pytest
from det_core.errors import ConfigError, DataError

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from test_view import client_of, names
from viewing import session_of, write_set


@pytest.fixture
def file(tmp_path):
    return write_set(tmp_path / "set")


@pytest.fixture
def session(file, tmp_path):
    return session_of(file, tmp_path / "cache", output=tmp_path / "out")


@pytest.fixture
def client(session):
    with client_of(session) as opened:
        yield opened


def test_corrected_copy_lacks_marked_annotations_only(client, file, tmp_path):
    before = file.read_bytes()
    objects = client.get("/api/pictures/0").json()["objects"]
    assert [each["bad"] for each in objects] == [False] * 3
    assert client.post("/api/marks", json={"row": objects[1]["row"], "bad": True}).json()["splits"] == {
        "val": {"marks": 1, "name": "val_corrected.json"}
    }
    assert names(client, marked="true") == ["a.png"]
    assert client.get("/api/pictures/0").json()["objects"][1]["bad"]
    answer = client.post("/api/corrected", json={"split": "val", "name": "val_corrected.json"}).json()
    assert answer == {"path": str(tmp_path / "out" / "val_corrected.json"), "removed": 1, "annotations": 6}
    original, copy = json.loads(before), json.loads((tmp_path / "out" / "val_corrected.json").read_text("utf-8"))
    original["annotations"] = [each for each in original["annotations"] if each["id"] != objects[1]["id"]]
    assert copy == original
    assert file.read_bytes() == before


def test_marks_are_stored_and_can_be_removed(session, file, tmp_path):
    session.corrections.mark(1, True)
    session.corrections.mark(2, True)
    session.corrections.mark(2, False)
    assert session_of(file, tmp_path / "cache").corrections.rows == {1}
    content = json.loads(file.read_text("utf-8"))
    content["annotations"].insert(0, content["annotations"].pop())
    file.write_text(json.dumps(content), "utf-8")
    assert session_of(file, tmp_path / "cache").corrections.rows == set()  # is of another annotation now


@pytest.mark.parametrize(
    "name", ["../val.json", "/etc/passwd.json", "a/b.json", "..", ".json", "con.json", "x.txt", "a\\b.json", "a\n.json"]
)
def test_names_with_folders_are_refused(client, tmp_path, name):
    client.post("/api/marks", json={"row": 0, "bad": True})
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    answer = client.post("/api/corrected", json={"split": "val", "name": name})
    assert answer.status_code == 422
    assert "without folders" in answer.json()["errors"][0]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


def test_existing_files_are_not_overwritten(file, tmp_path):
    before = file.read_bytes()
    corrections = session_of(file, tmp_path / "cache", output=file.parent).corrections
    corrections.mark(0, True)
    with pytest.raises(ConfigError, match="exists, and is not overwritten"):
        corrections.write("val", "val.json")
    link = file.parent / "link.json"
    link.symlink_to(file)
    with pytest.raises(ConfigError, match="exists, and is not overwritten"):
        corrections.write("val", "link.json")
    with pytest.raises(ConfigError, match="exists, and is not overwritten"):
        corrections.export([0], "images")
    assert file.read_bytes() == before


def test_copy_without_marks_or_of_changed_file_is_refused(session, file):
    with pytest.raises(ConfigError, match="no annotation of val is marked"):
        session.corrections.write("val", "copy.json")
    with pytest.raises(ConfigError, match="there is no split 'train'"):
        session.corrections.write("train", "copy.json")
    session.corrections.mark(0, True)
    content = json.loads(file.read_text("utf-8"))
    del content["annotations"][0]
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(DataError, match="has changed since det view was started"):
        session.corrections.write("val", "copy.json")


def test_export_copies_pictures_and_their_annotations(client, tmp_path):
    client.post("/api/marks", json={"row": 0, "bad": True})
    answer = client.post("/api/export", json={"pictures": [0, 3, 0, 99], "name": "picked"}).json()
    folder = tmp_path / "out" / "picked"
    assert answer == {"path": str(folder), "pictures": 1, "problems": ["missing.jpg: the file is missing"]}
    original = tmp_path / "set" / "images" / "a.png"
    assert (folder / "images" / "val" / "a.png").read_bytes() == original.read_bytes()
    content = json.loads((folder / "val.json").read_text("utf-8"))
    assert [each["id"] for each in content["images"]] == [10, 13]
    assert [each["id"] for each in content["annotations"]] == [2, 6, 7]
    assert len(content["categories"]) == 3
    for body, words in (
        ({"pictures": [], "name": "none"}, "no picture"),
        ({"pictures": [0], "name": "a/b"}, "folders"),
    ):
        assert words in client.post("/api/export", json=body).json()["errors"][0]


def test_writing_needs_json_of_this_page(client):
    body = json.dumps({"row": 0, "bad": True})
    for headers, status in (
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/json", "Origin": "http://evil.example"}, 403),
        ({"Content-Type": "application/json", "Content-Length": str(5 << 20)}, 413),
        ({"Content-Type": "application/json"}, 200),
    ):
        assert client.post("/api/marks", content=body, headers=headers).status_code == status
    assert client.post("/api/marks", json={"row": 99, "bad": True}).status_code == 404
    assert client.post("/api/marks", json={"row": "x"}).status_code == 422
