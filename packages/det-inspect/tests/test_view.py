"""The routes of `det view`: pictures, filters, defects, and requests that are refused."""

import io
import json
import socket

import pytest
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.errors import ConfigError, DataError

pytest.importorskip("fastapi")
testclient = pytest.importorskip("starlette.testclient")

from det_inspect.cli.data_sources import Sources  # noqa: E402
from det_inspect.cli.view import session_of as session_named  # noqa: E402
from det_inspect.view.app import make_app  # noqa: E402
from det_inspect.view.guard import Guard  # noqa: E402
from PIL import Image  # noqa: E402
from viewing import SCRIPT, eventually, running, session_of, write_set  # noqa: E402

LOCAL = ("127.0.0.1", "localhost")


def client_of(session, token=""):
    """A client of the application behind its guard."""
    return testclient.TestClient(Guard(make_app(session), LOCAL, token), base_url="http://127.0.0.1:8010")


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return session_of(write_set(folder / "set"), folder / "cache")


@pytest.fixture(scope="module")
def client(session):
    with client_of(session) as opened:
        yield opened


def names(client, **filters):
    return [each["name"] for each in client.get("/api/pictures", params=filters).json()["items"]]


def test_set_counts_classes_and_sizes(client):
    about = client.get("/api/set").json()
    assert [(each["name"], each["objects"]) for each in about["classes"]] == [("cell", 4), (SCRIPT, 1), ("person", 1)]
    assert about["pictures"] == 4
    assert about["sizes"] == {"small": 5, "medium": 1, "large": 0}
    assert about["classes"][2]["skeleton"] == [[1, 2], [2, 3]]


def test_filters_select_pictures_of_one_object(client):
    assert names(client) == ["a.png", "b.tif", "broken.jpg", "missing.jpg"]
    assert names(client, **{"class": 2}) == ["b.tif"]
    assert names(client, size="medium") == ["a.png"]
    assert names(client, size="medium", **{"class": 1}) == []
    assert names(client, text="ROKEN") == ["broken.jpg"]
    assert names(client, sort="objects")[0] == "a.png"
    assert names(client, split="train") == []
    assert names(client, **{"class": 99}) == []


def test_pages_of_list_join(client):
    parts = [client.get("/api/pictures", params={"offset": n, "limit": 1}).json() for n in range(5)]
    assert [each["total"] for each in parts] == [4] * 5
    assert [item for each in parts for item in each["items"]] == client.get("/api/pictures").json()["items"]


def test_details_give_all_kinds_of_shapes(client):
    objects = client.get("/api/pictures/0").json()["objects"]
    assert [len(each["box"]) for each in objects] == [4, 5, 4]
    assert objects[0]["polygons"] == [[10, 20, 40, 20, 40, 50]]
    person, cell = client.get("/api/pictures/1").json()["objects"]
    assert person["keypoints"] == [12, 22, 2, 30, 40, 2, 0, 0, 0]
    corners = {tuple(cell["polygons"][0][i : i + 2]) for i in range(0, 8, 2)}
    assert corners == {(10, 20), (40, 20), (40, 50), (10, 50)}


def test_damaged_parts_of_objects_are_left_out(tmp_path):
    damaged = (
        {"image_id": 11, "category_id": 1, "bbox": [0, 0, 9, 9], "segmentation": {"size": [9, 9], "counts": "x"}},
        {"image_id": 11, "category_id": 1, "bbox": [0, 0, 9, 9], "segmentation": [["a"] * 6, [1, 2]]},
        {"image_id": 11, "category_id": 1, "bbox": [0, 0, 9, 9], "keypoints": [1, 2]},
        {"image_id": 11, "category_id": 1, "bbox": "wide"},
        {"image_id": [11], "category_id": {}, "bbox": [0, 0, 9, 9]},
    )
    with client_of(session_of(write_set(tmp_path / "set", damaged), tmp_path / "cache")) as opened:
        objects = opened.get("/api/pictures/1").json()["objects"]
    assert [set(each) & {"polygons", "keypoints"} for each in objects[2:]] == [set()] * 3


def test_pictures_are_files_that_browsers_know(client):
    for index, media_type in ((0, "image/png"), (1, "image/png")):
        for part in ("image", "thumbnail"):
            answer = client.get(f"/pictures/{index}/{part}")
            assert answer.headers["content-type"] == (media_type if part == "image" else "image/jpeg")
            with Image.open(io.BytesIO(answer.content)) as picture:
                assert picture.size == (80, 60)


@pytest.mark.parametrize("part", ["image", "thumbnail"])
def test_broken_and_missing_pictures_give_reasons(client, part):
    for index, name, words in ((2, "broken.jpg", "image"), (3, "missing.jpg", "missing|no such")):
        answer = client.get(f"/pictures/{index}/{part}")
        assert answer.status_code == 422
        [problem] = answer.json()["errors"]
        assert name in problem
        assert any(word in problem for word in words.split("|"))


def test_thumbnails_are_written_once_and_follow_files(tmp_path):
    session = session_of(write_set(tmp_path / "set"), tmp_path / "cache")
    path = session.set.pictures[0].path
    first = session.thumbnails.get(path)
    written = first.stat().st_mtime_ns
    assert session.thumbnails.get(path) == first
    assert first.stat().st_mtime_ns == written
    Image.new("RGB", (900, 300), "blue").save(path)
    with Image.open(session.thumbnails.get(path)) as picture:
        assert picture.size == (240, 80)


@pytest.mark.parametrize(
    "path",
    [
        "/pages/../app.py",
        "/pages/..%2fapp.py",
        "/pages/%2e%2e/%2e%2e/app.py",
        "/pages//etc/passwd",
        "/pictures/0/../../../etc/passwd",
        "/pictures/-1/image",
        "/pictures/4/image",
        "/pictures/a.png/image",
        "/api/pictures/99",
        "/docs",
        "/openapi.json",
    ],
)
def test_other_paths_give_no_file(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    assert answer.json()["errors"]


def test_picture_outside_of_folder_is_a_defect(session, client):
    assert not any("secret" in picture.name for picture in session.set.pictures)
    summary = eventually(lambda: client.get("/api/defects").json(), lambda each: each["state"] == "done")
    assert any("path leaves the folder" in text for text in summary["others"])


def test_defects_are_listed_with_their_pictures(client):
    summary = eventually(lambda: client.get("/api/defects").json(), lambda each: each["state"] == "done")
    assert {"missing image", "unreadable image", "box outside", "unknown category"} <= set(summary["kinds"])
    assert names(client, defect="missing image") == ["missing.jpg"]
    assert names(client, defect="any") == ["a.png", "broken.jpg", "missing.jpg"]
    assert names(client, sort="defects")[0] == "a.png"
    [outside] = [each for each in client.get("/api/pictures/0").json()["defects"] if each["kind"] == "box outside"]
    assert outside["box"] == [70, 50, 110, 90]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8010"}, 421),
        ({"Host": ""}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:8010"}, 200),
        ({"Host": "localhost:8010"}, 200),
    ],
)
def test_requests_of_other_sites_are_refused(client, headers, status):
    answer = client.get("/api/set", headers=headers)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_token_is_needed_once(session):
    with client_of(session, "secret") as opened:
        assert opened.get("/api/set").status_code == 401
        assert opened.get("/?token=wrong").status_code == 401
        assert opened.get("/?token=secret").status_code == 200
        assert opened.get("/api/set").status_code == 200  # with the cookie


def test_bad_parameters_are_named(client):
    for query, name in (("size=huge", "size"), ("class=-1", "class"), ("limit=9999", "limit"), ("sort=x", "sort")):
        answer = client.get(f"/api/pictures?{query}")
        assert answer.status_code == 422
        assert answer.json()["errors"][0].startswith(name)


def test_command_line_names_files_and_recipes(tmp_path):
    file = write_set(tmp_path / "set")
    none = Sources(None, (), (), "coco", (), (), None, (), None)
    assert session_named((str(file),), none, tmp_path / "cache").about()["splits"] == {"val": 4}
    with pytest.raises(ConfigError, match="no data set is named"):
        session_named((), none, tmp_path)
    with pytest.raises(ConfigError, match="there is no such file"):
        session_named((str(tmp_path / "absent.json"),), none, tmp_path)
    with pytest.raises(ConfigError, match="a recipe is named already"):
        session_named(("one", "two"), none, tmp_path)
    file.write_text(json.dumps({"images": [], "annotations": [], "categories": []}), "utf-8")
    with pytest.raises(DataError, match="lists no picture"):
        session_named((str(file),), none, tmp_path)


def test_server_sends_small_answers_at_once(session):
    """asyncio turns Nagle's algorithm off for sockets that are named TCP; else every answer takes 40 ms."""
    with running(session) as server:
        [listener] = server.servers[0].sockets
        assert listener.proto == socket.IPPROTO_TCP


def test_command_refuses_ports_in_use(tmp_path):
    file = write_set(tmp_path / "set")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        arguments = ["view", str(file), "--port", port, "--cache", str(tmp_path / "cache")]
        result = CliRunner().invoke(det, arguments)
    assert result.exit_code == 2
    assert f"cannot listen at 127.0.0.1:{port}" in result.output
