"""Weight files from elsewhere are downloaded once, whole, and checked."""

import hashlib
import http.server
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from det_core.errors import MissingExtraError, WeightsError
from det_core.weights import sources
from det_core.weights.sources import fetch, resolve
from serving import serving

CONTENT = bytes(range(256)) * 5000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one file, in ways that a test can change."""

    def do_GET(self):
        server = self.server
        server.asked.append(self.headers.get("Range"))
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        content, start = server.content, 0
        if (wanted := self.headers.get("Range")) and server.resumes:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
        rest = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else len(rest)
        self.wfile.write(rest[:cut])

    def log_message(self, *given):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("DET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DET_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    with serving(Handler) as server:
        server.content, server.cuts, server.resumes = CONTENT, [], True
        yield server


def published(algorithm="md5", digits=6, mark="_"):
    return f"model_final{mark}{hashlib.new(algorithm, CONTENT).hexdigest()[:digits]}.pkl"


@pytest.mark.parametrize("name", [published(), published("sha256", 8, "-"), "weights.pth"])
def test_file_is_downloaded_once_and_keeps_its_name(server, name):
    for _ in range(2):
        path = fetch(f"{server.url}/some/{name}?version=2")
        assert path.name == name
        assert path.read_bytes() == CONTENT
    assert server.asked == [None]


def test_download_same_name_from_two_urls_are_two_files(server):
    assert fetch(f"{server.url}/one/net.pth") != fetch(f"{server.url}/two/net.pth")


def test_download_that_breaks_off_goes_on_where_it_stopped(server):
    server.cuts = [1000, 2000]
    url = f"{server.url}/{published()}"
    for have in (1000, 3000):
        with pytest.raises(
            WeightsError, match=r"the connection ended after \d+ of \d+ bytes; the partial file is kept"
        ):
            fetch(url)
        assert len(next((sources.cache_folder()).rglob("*.part")).read_bytes()) == have
    assert fetch(url).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-", "bytes=3000-"]
    assert not list(sources.cache_folder().rglob("*.part"))


def test_server_that_cannot_go_on_starts_again(server):
    server.cuts, server.resumes = [1000], False
    url = f"{server.url}/{published()}"
    with pytest.raises(WeightsError):
        fetch(url)
    assert fetch(url).read_bytes() == CONTENT


def test_download_complete_partial_file_is_requested_again(server):
    url = f"{server.url}/{published()}"
    path = fetch(url)
    path.rename(path.with_name(f"{path.name}.part"))
    assert fetch(url).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={len(CONTENT)}-", None]


def test_download_with_wrong_hash_is_refused_and_deleted(server):
    server.content = b"another file"
    with pytest.raises(WeightsError, match=r"is not the published file: its md5 should start with [0-9a-f]{6}"):
        fetch(f"{server.url}/{published()}")
    assert {path.name for path in sources.cache_folder().rglob("*") if path.is_file()} == {"lock"}


def test_download_missing_file_error_names_cache_path(server):
    with pytest.raises(WeightsError, match=r"cannot be downloaded; .*404.*; try again, or put the file at .*net\.pth"):
        fetch(f"{server.url}/missing/net.pth")


def test_download_offline_uses_cache_only(server, monkeypatch):
    url = f"{server.url}/net.pth"
    path = fetch(url)
    monkeypatch.setenv("DET_OFFLINE", "1")
    assert fetch(url) == path
    with pytest.raises(WeightsError, match="is not here, and DET_OFFLINE is set; put it at"):
        fetch(f"{server.url}/other.pth")
    assert server.asked == [None]


def test_many_at_once_download_once(server):
    url = f"{server.url}/{published()}"
    with ThreadPoolExecutor(6) as pool:
        paths = set(pool.map(lambda _: fetch(url), range(6)))
    assert len(paths) == 1
    assert paths.pop().read_bytes() == CONTENT
    assert server.asked == [None]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a full disk is /dev/full, which Linux has")
def test_full_disk_is_reported(server, monkeypatch):
    full = sources.Path("/dev/full").open
    monkeypatch.setattr(sources.Path, "open", lambda self, *given: full("ab", buffering=0))
    with pytest.raises(WeightsError, match="No space left on device"):
        fetch(f"{server.url}/net.pth")


def test_short_names_of_published_files():
    root = "https://dl.fbaipublicfiles.com"
    assert (
        resolve("detectron2://ImageNetPretrained/MSRA/R-50.pkl")
        == f"{root}/detectron2/ImageNetPretrained/MSRA/R-50.pkl"
    )
    assert resolve("detectron2://A/b.pth?matching_heuristics=True") == f"{root}/detectron2/A/b.pth"
    gn = "ImageNetPretrained/47261647/R-50-GN.pkl"
    assert resolve("catalog://ImageNetPretrained/FAIR/R-50-GN") == f"{root}/detectron/{gn}"
    with pytest.raises(WeightsError, match="not in the catalogue; it has ImageNetPretrained/MSRA/R-50,"):
        resolve("catalog://ImageNetPretrained/Nobody")


def test_local_path_is_itself():
    assert str(fetch("weights/net.pth")) == "weights/net.pth"


@pytest.mark.parametrize(
    "source", ["ftp://a/b.pth", "file:///etc/passwd", "https://example.org/", "s3://bucket/net.pth"]
)
def test_other_schemes_are_refused(source):
    with pytest.raises(WeightsError, match="is no source of weights"):
        fetch(source)


def test_hub_source_without_det_inspect_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "det_inspect", None)
    with pytest.raises(MissingExtraError, match="hf:// addresses: needs det-inspect, which is not installed"):
        fetch("hf://owner/repository/model.safetensors")
