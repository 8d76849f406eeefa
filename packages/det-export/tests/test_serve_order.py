"""`det serve` without batching, at its start, and killed."""

import contextlib
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from small_servers import BlockDetector, eventually, png, running  # noqa: E402
from test_serve_model import PICTURES, started  # noqa: E402

CELLS = Path(__file__).parents[3] / "examples" / "blood-cells" / "detector.safetensors"


class CountedDetector(BlockDetector):
    """Computes a call whenever `permits` has one."""

    def __init__(self):
        super().__init__()
        self.permits = threading.Semaphore(3)  # the pictures of the start

    def __call__(self, images, threshold=0.0, batch_size=1):
        assert self.permits.acquire(timeout=20)
        return super().__call__(images, threshold, batch_size)


def test_request_without_batching_waits_for_no_later_picture():
    detector = CountedDetector()
    with running({"blocks": detector}, batch=1) as server, ThreadPoolExecutor(3) as pool:
        entered = len(detector.batches)
        post = partial(httpx.post, f"{server.url}/predict", timeout=30)
        first = pool.submit(post, content=png(1))
        eventually(lambda: server.models["blocks"].waiting == 1)
        others = [pool.submit(post, content=png(red)) for red in (2, 3)]
        eventually(lambda: server.models["blocks"].waiting == 3)
        detector.permits.release()
        assert first.result().json()["annotations"][0]["category_id"] == 11  # while the others wait
        assert not wait(others, timeout=0.2).done
        detector.permits.release(2)
        assert sorted(each.result().json()["annotations"][0]["category_id"] for each in others) == [12, 13]
        assert detector.batches[entered:] == [1, 1, 1]


def test_server_computes_pictures_before_it_listens():
    detector = BlockDetector()
    with running({"blocks": detector}) as server:
        assert detector.entered >= 3
        assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}


@pytest.mark.skipif(not PICTURES, reason="the examples are not beside the package")
def test_killed_server_ends_connections_and_leaves_port_free():
    process, url = started(CELLS)
    port = int(url.rpartition(":")[2])
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            connection.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(100) == b""  # not an endless wait
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")
        process, again = started("--port", str(port), CELLS)
        assert again == url
        assert httpx.post(f"{url}/predict", content=PICTURES[0].read_bytes(), timeout=60).status_code == 200
    finally:
        process.kill()
        process.wait()
