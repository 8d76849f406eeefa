"""Files of the Hugging Face hub as weights."""

import sys
import types

import pytest
from det_core.errors import MissingExtraError, WeightsError
from det_core.weights.sources import fetch
from det_inspect.optional import optional

CONTENT = b"weights"


def test_optional_missing_library_is_named_with_its_command():
    message = "here: needs no-such-thing, which is not installed; pip install no-such-thing"
    with pytest.raises(MissingExtraError, match=message):
        optional("no_such_thing", "here")


def test_hub_needs_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"needs huggingface-hub.*pip install huggingface-hub"):
        fetch("hf://owner/repository/model.safetensors")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A stand-in for huggingface_hub: one file, and what it was asked for."""

    class HfHubHTTPError(Exception):
        pass

    class LocalEntryNotFoundError(FileNotFoundError):
        pass

    asked = []

    def hf_hub_download(repository, file, *, revision=None, local_files_only=False):
        asked.append((repository, file, revision, local_files_only))
        if local_files_only:
            raise LocalEntryNotFoundError("it is not in the cache\nmore lines")
        if file != "nets/model.safetensors":
            raise HfHubHTTPError("404 Client Error\nmore lines")
        path = tmp_path / "model.safetensors"
        path.write_bytes(CONTENT)
        return str(path)

    library, errors = types.ModuleType("huggingface_hub"), types.ModuleType("huggingface_hub.errors")
    library.hf_hub_download, library.errors = hf_hub_download, errors
    errors.HfHubHTTPError, errors.LocalEntryNotFoundError = HfHubHTTPError, LocalEntryNotFoundError
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    monkeypatch.delenv("DET_OFFLINE", raising=False)
    return asked


def test_hub_download_passes_repository_path_and_revision(hub):
    assert fetch("hf://owner/name/nets/model.safetensors").read_bytes() == CONTENT
    fetch("hf://owner/name@v1.2/nets/model.safetensors")
    assert hub == [
        ("owner/name", "nets/model.safetensors", None, False),
        ("owner/name", "nets/model.safetensors", "v1.2", False),
    ]


def test_hub_download_error_is_one_line(hub, monkeypatch):
    with pytest.raises(WeightsError, match=r"^hf://o/n/x\.pth: cannot be downloaded; 404 Client Error; check "):
        fetch("hf://o/n/x.pth")
    monkeypatch.setenv("DET_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"cannot be downloaded; it is not in the cache"):
        fetch("hf://owner/name/nets/model.safetensors")
    assert hub[-1][-1] is True


@pytest.mark.parametrize("source", ["hf://", "hf://owner", "hf:///name"])
def test_hub_source_without_a_repository_is_refused(hub, source):
    with pytest.raises(WeightsError, match="names no repository; write hf://owner/repository/file"):
        fetch(source)
    assert hub == []
