"""`det serve` over a real socket: answers, bounds, and clients that behave badly."""

import contextlib
import io
import socket
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from det_core.errors import ConfigError, DataError

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from det_export.serve.loading import sources_by_name  # noqa: E402
from det_export.serve.server import is_loopback  # noqa: E402
from det_export.serve.urls import download, is_public  # noqa: E402
from PIL import Image  # noqa: E402
from small_servers import BlockDetector, connected, eventually, png, running  # noqa: E402
from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: E402


@pytest.fixture(scope="module")
def server():
    with running({"blocks": BlockDetector(), "other": BlockDetector(("x", "y"), 0.2)}, batch=4) as started:
        yield started


@pytest.fixture(scope="module")
def client(server):
    with httpx.Client(base_url=server.url, timeout=30) as opened:
        yield opened


def test_connection_sends_answers_without_delay(server, monkeypatch):
    sockets, made = [], H11Protocol.connection_made

    def recorded(protocol, transport):
        made(protocol, transport)
        sockets.append(transport.get_extra_info("socket"))

    monkeypatch.setattr(H11Protocol, "connection_made", recorded)
    with httpx.Client(base_url=server.url, timeout=30) as client:
        client.get("/health")
        [each] = sockets
        assert each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_predict_raw_picture_gives_coco_json(client):
    answer = client.post("/predict", content=png(2))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["model"] == "blocks"
    assert found["images"] == [{"id": 0, "file_name": "picture", "height": 40, "width": 60, "segments": []}]
    [annotation] = found["annotations"]
    assert annotation == {
        "id": 0,
        "image_id": 0,
        "category_id": 12,
        "bbox": [0, 0, 30, 20],
        "score": pytest.approx(0.9),
    }
    assert {"id": 12, "name": "c"} in found["categories"]


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_predict_raw_picture_of_any_content_type(client, kind):
    answer = client.post("/predict", content=png(2), headers={"Content-Type": kind})  # curl gives the last one
    assert [each["category_id"] for each in answer.json()["annotations"]] == [12]


def test_predict_form_of_several_pictures_keeps_order(client):
    files = [("picture", (f"{red}.png", png(red))) for red in (3, 1)]
    found = client.post("/predict/other?threshold=0.1", files=files).json()
    assert [each["file_name"] for each in found["images"]] == ["3.png", "1.png"]
    assert [(each["id"], each["image_id"], each["category_id"]) for each in found["annotations"]] == [
        *((0, 0, 11), (1, 0, 11), (2, 1, 11), (3, 1, 11))
    ]
    assert len(client.post("/predict/other?threshold=0.1&limit=1", content=png()).json()["annotations"]) == 1


def test_predict_png_and_npz_by_accept_or_parameter(client):
    for given in ({"params": {"format": "png"}}, {"headers": {"Accept": "image/png, */*"}}):
        answer = client.post("/predict", content=png(size=(50, 70)), **given)
        assert answer.headers["content-type"] == "image/png"
        picture = Image.open(io.BytesIO(answer.content))
        assert picture.size == (70, 50)
        assert picture.getcolors(1) is None  # a box is drawn on it
    arrays = np.load(io.BytesIO(client.post("/predict?format=npz", content=png(2)).content))
    assert arrays["boxes"].tolist() == [[0, 0, 30, 20]]
    assert (arrays["labels"].tolist(), arrays["size"].tolist()) == ([2], [40, 60])
    files = [("picture", ("a", png(1))), ("picture", ("b", png(2)))]
    both = np.load(io.BytesIO(client.post("/predict?format=npz", files=files).content))
    assert (both["0.labels"].tolist(), both["1.labels"].tolist()) == ([1], [2])


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b"no picture at all", 415, "is not an image that can be read"),
        (b"", 400, "has no picture"),
        (png()[:-30], 422, "damaged or cut short"),
        (png(size=(700, 700)), 413, "has 700 x 700 pixels; this server takes 400,000"),
        (b"\0" * (1 << 20) + b"1", 413, "larger than 1 MiB"),
    ],
)
def test_predict_refuses_with_reason(client, body, status, problem):
    answer = client.post("/predict", content=body)
    assert (answer.status_code, problem in answer.json()["errors"][0]) == (status, True), answer.text


def test_predict_bomb_is_refused_before_decoding(client):
    head = b"IHDR" + struct.pack(">2I5B", 60_000, 60_000, 1, 0, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + png()[33:]
    answer = client.post("/predict", content=body)
    assert (answer.status_code, "attack" in answer.text) == (413, True), answer.text


def test_predict_jpeg_of_many_scans_is_refused(client):
    content = io.BytesIO()
    Image.new("RGB", (64, 64)).save(content, "JPEG", progressive=True)
    start = content.getvalue().rindex(b"\xff\xda")
    scans = content.getvalue()[:start] + content.getvalue()[start:-2] * 300 + b"\xff\xd9"
    answer = client.post("/predict", content=scans)
    assert (answer.status_code, "scans" in answer.text) == (413, True), answer.text


def test_predict_lists_errors_of_all_pictures(client):
    files = [("picture", ("a.txt", b"text")), ("picture", ("b.png", png())), ("picture", ("c.png", png()[:-30]))]
    errors = client.post("/predict", files=files).json()["errors"]
    assert [each.partition(":")[0] for each in errors] == ["a.txt", "c.png"]
    many = client.post("/predict", files=[("picture", (f"{number}", png())) for number in range(4)])
    assert (many.status_code, "takes 3 pictures; got 4" in many.text) == (413, True)


@pytest.mark.parametrize(
    ("path", "status", "problem"),
    [
        ("/predict/missing", 404, "there is blocks, other"),
        ("/predict?threshold=2", 422, "threshold:"),
        ("/predict?format=gif", 422, "format:"),
        ("/nowhere", 404, "Not Found"),
    ],
)
def test_predict_wrong_address_or_option_is_refused(client, path, status, problem):
    answer = client.post(path, content=png())
    assert (answer.status_code, problem in answer.json()["errors"][0]) == (status, True), answer.text


def test_picture_the_model_fails_on_spares_its_batch(server, client):
    detector = server.models["blocks"].detector
    detector.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        bodies = [png(1), png(1, green=255), png(2)]
        answers = [pool.submit(client.post, "/predict", content=body) for body in bodies]
        eventually(lambda: server.models["blocks"].waiting == 3)
        detector.gate.set()
        assert [each.result().status_code for each in answers] == [200, 500, 200]
    assert "RuntimeError" in answers[1].result().text


def test_waiting_pictures_become_one_batch(server, client):
    model = server.models["blocks"]
    model.detector.gate.clear()
    model.detector.batches.clear()
    with ThreadPoolExecutor(4) as pool:
        entered = model.detector.entered
        first = pool.submit(client.post, "/predict", content=png(0))
        eventually(lambda: model.detector.entered == entered + 1)
        others = [pool.submit(client.post, "/predict", content=png(red)) for red in (1, 2, 3)]
        eventually(lambda: model._batcher._jobs.qsize() == 3)
        model.detector.gate.set()
        ids = [each.result().json()["annotations"][0]["category_id"] for each in (first, *others)]
    assert (ids, model.detector.batches) == ([10, 11, 12, 13], [1, 3])


def test_full_queue_answers_503_with_retry_after():
    detector = BlockDetector()
    with running({"blocks": detector}) as server, ThreadPoolExecutor(8) as pool:
        detector.gate.clear()
        post = partial(httpx.post, f"{server.url}/predict", content=png(), timeout=30)
        answers = [pool.submit(post) for _ in range(4)]
        eventually(lambda: server.models["blocks"].waiting == 4)
        refused = post()
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}
        detector.gate.set()
        assert [each.result().status_code for each in answers] == [200] * 4
        assert server.models["blocks"].waiting == 0


def test_client_that_hangs_up_leaves_the_queue():
    detector = BlockDetector()
    with running({"blocks": detector}) as server, ThreadPoolExecutor(1) as pool:
        detector.gate.clear()
        detector.batches.clear()
        entered = detector.entered
        first = pool.submit(httpx.post, f"{server.url}/predict", content=png(), timeout=30)
        model = server.models["blocks"]
        eventually(lambda: detector.entered == entered + 1)
        body = png()
        for _ in range(3):
            connection = connected(server)
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body))
            connection.sendall(body)
            eventually(lambda: model.waiting == 2)
            connection.close()
            eventually(lambda: model.waiting == 1)
        detector.gate.set()
        assert first.result().status_code == 200
        assert httpx.post(f"{server.url}/predict", content=png()).status_code == 200
        assert detector.batches == [1, 1]  # nothing was computed for those that left
        assert "det_clients_gone_total 3.0" in httpx.get(f"{server.url}/metrics").text


def ended(connection):
    """Whether the server has closed a connection without an answer."""
    try:
        return connection.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_slow_clients_are_ended_and_block_no_other(server, client):
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    slow_body, slow_head, silent = (connected(server) for _ in range(3))
    for connection in (slow_body, slow_head, silent):
        connection.settimeout(20)
    slow_body.sendall(head)
    slow_head.sendall(head[:20])
    stop = threading.Event()

    def drip():
        while not stop.wait(0.2):
            for connection in (slow_body, slow_head):
                with contextlib.suppress(OSError):
                    connection.sendall(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        assert [client.post("/predict", content=png()).status_code for _ in range(5)] == [200] * 5
        assert b" 408 " in slow_body.recv(4096)
        assert ended(slow_head)
        assert ended(silent)
    finally:
        stop.set()
        dripping.join()
        for connection in (slow_body, slow_head, silent):
            connection.close()


def test_token_is_needed_for_all_but_pages():
    with running({"blocks": BlockDetector()}, token="secret") as server:
        post = partial(httpx.post, f"{server.url}/predict", content=png())
        assert (post().status_code, post(headers={"Authorization": "Bearer wrong"}).status_code) == (401, 401)
        assert post(headers={"Authorization": "Bearer secret"}).status_code == 200
        paths = ("/", "/page.js", "/docs", "/docs.js", "/openapi.json", "/health", "/metrics", "/models")
        assert [httpx.get(server.url + path).status_code for path in paths] == [*[200] * 6, 401, 401]


def test_other_host_and_foreign_page_are_refused(client):
    assert client.post("/predict", content=png(), headers={"Host": "evil.example"}).status_code == 421
    assert client.post("/predict", content=png(), headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post("/predict", content=png(), headers={"Origin": "http://localhost:1"}).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_is_loopback_of_this_machine(host):
    assert is_loopback(host)
    assert not is_loopback("0.0.0.0")


def test_command_on_all_interfaces_needs_token():
    from click.testing import CliRunner
    from det_core.cli.main import det

    result = CliRunner().invoke(det, ["serve", "model.onnx", "--host", "0.0.0.0"], env={"DET_SERVE_TOKEN": ""})
    assert result.exit_code != 0
    assert "DET_SERVE_TOKEN" in str(result.output) + str(result.exception)


def test_names_of_models_and_two_of_one_name():
    assert sources_by_name(["runs/cells/best.safetensors", "b.onnx", "c=runs/x"]) == {
        "cells": "runs/cells/best.safetensors",
        "b": "b.onnx",
        "c": "runs/x",
    }
    with pytest.raises(ConfigError, match="two models have one name; b"):
        sources_by_name(["b.onnx", "x/b.pt2"])


def test_openapi_pages_and_metrics(client):
    schema = client.get("/openapi.json").json()
    operation = schema["paths"]["/predict/{model}"]["post"]
    assert [each["name"] for each in operation["parameters"]] == ["model", "format", "threshold", "limit"]
    assert {"413", "415", "503"} <= operation["responses"].keys()
    assert set(operation["requestBody"]["content"]) == {"image/*", "multipart/form-data", "application/json"}
    for path in ("/", "/docs"):
        page = client.get(path)
        assert page.headers["content-type"].startswith("text/html")
        assert "https://" not in page.text
        assert "default-src 'self'" in page.headers["content-security-policy"]
    client.post("/predict", content=png())
    lines = client.get("/metrics").text.splitlines()
    for name in ("det_requests_total{", "det_batch_size_bucket{", 'det_pictures_waiting{model="blocks"} 0.0'):
        assert any(line.startswith(name) for line in lines), name
    assert client.get("/models").json()[1]["classes"] == ["x", "y"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *(("8.8.8.8", True), ("2001:4860:4860::8888", True), ("127.0.0.1", False), ("10.1.2.3", False)),
        *(("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False)),
        *(("::1", False), ("::ffff:127.0.0.1", False), ("fe80::1%eth0", False), ("fd00::1", False)),
        *(("64:ff9b::7f00:1", False), ("2002:7f00:1::", False)),
    ],
)
def test_is_public_addresses(address, expected):
    assert is_public(address) is expected


class Pictures(BaseHTTPRequestHandler):
    """/a.png is a picture, /away redirects to what follows it, /slow sends a byte at a time."""

    def do_GET(self):
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/away?"))
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        if self.path == "/slow":
            wait = threading.Event()
            for _ in range(100):
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return
                wait.wait(0.1)
        else:
            self.wfile.write(png(3))

    def log_message(self, *arguments):
        pass


@pytest.fixture
def elsewhere():
    website = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    thread = threading.Thread(target=website.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{website.server_port}"
    website.shutdown()
    website.server_close()


def test_urls_are_refused_unless_allowed(client, elsewhere):
    answer = client.post("/predict", json=[f"{elsewhere}/a.png"])
    assert (answer.status_code, "--urls" in answer.text) == (403, True)
    with running({"blocks": BlockDetector()}, allowed=is_public) as server:
        answer = httpx.post(f"{server.url}/predict", json=[f"{elsewhere}/a.png", "file:///etc/passwd"])
        assert answer.status_code == 422
        assert "127.0.0.1" in answer.json()["errors"][0]
        assert "file:///etc/passwd: is no URL" in answer.json()["errors"][1]
    with running({"blocks": BlockDetector()}, allowed=lambda address: True) as server:
        found = httpx.post(f"{server.url}/predict", json={"urls": [f"{elsewhere}/a.png"]}).json()
        assert found["images"][0]["file_name"] == f"{elsewhere}/a.png"
        assert found["annotations"][0]["category_id"] == 13
        wrong = [httpx.post(f"{server.url}/predict", json=each).status_code for each in ({}, [1], "x")]
        broken = httpx.post(
            f"{server.url}/predict", content=b"{", headers={"Content-Type": "application/json"}
        ).status_code
        assert (wrong, broken) == ([422] * 3, 400)


def test_download_redirected_to_private_address_is_refused(elsewhere):
    port = elsewhere.rpartition(":")[2]
    allowed = lambda address: address == "127.0.0.1"  # noqa: E731
    assert download(f"{elsewhere}/away?/a.png", 10_000, 5, allowed) == png(3)
    for target in (f"http://127.0.0.2:{port}/a.png", f"http://[::1]:{port}/a.png"):
        with pytest.raises(DataError, match="does not connect to"):
            download(f"{elsewhere}/away?{target}", 10_000, 5, allowed)
    for target in ("ftp://127.0.0.1/a.png", "file:///etc/passwd"):
        with pytest.raises(DataError, match="cannot be downloaded"):
            download(f"{elsewhere}/away?{target}", 10_000, 5, allowed)


def test_download_is_bounded_in_size_and_time(elsewhere):
    with pytest.raises(DataError, match="is larger than"):
        download(f"{elsewhere}/a.png", 20, 5, lambda address: True)
    with pytest.raises(DataError, match=r"within 0\.5 s"):
        download(f"{elsewhere}/slow", 10_000, 0.5, lambda address: True)
