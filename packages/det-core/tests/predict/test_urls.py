"""Images at addresses."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from det_core.errors import DataError
from det_core.predict.urls import read_image_at
from PIL import Image


def test_read_image_at_address_downloads_images_alone(tmp_path: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    Image.new("RGB", (6, 4), (10, 20, 30)).save(tmp_path / "a.png")
    (tmp_path / "page.html").write_text("no image")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert read_image_at(f"{address}/a.png")[:, 0, 0].tolist() == [10, 20, 30]
        with pytest.raises(DataError, match=r"page\.html: is not an image that can be read"):
            read_image_at(f"{address}/page.html")
        with pytest.raises(DataError, match=r"gone\.png: cannot be downloaded; HTTP Error 404"):
            read_image_at(f"{address}/gone.png")
        server.shutdown()
