"""Weight files from elsewhere: found, downloaded once, checked, and kept in a folder.

The folder is the one in DET_CACHE, by default `~/.cache/det`. A download that breaks off goes on where it stopped, and
a file has its name only once it is whole. With DET_OFFLINE=1 nothing is downloaded.
"""

import hashlib
import os
import re
import urllib.error
from http.client import HTTPException
from pathlib import Path
from urllib.parse import unquote, urlsplit

from det_safeload.downloads import download, is_page
from det_safeload.locks import alone

from det_core.errors import WeightsError
from det_core.plugins.known import function

__all__ = ["cache_folder", "fetch", "is_page", "offline", "resolve"]

CACHE, OFFLINE = "DET_CACHE", "DET_OFFLINE"
_PUBLISHED = "https://dl.fbaipublicfiles.com"
# Where the files lie that Detectron2 calls by their place in its catalogue.
_CATALOG = {
    "ImageNetPretrained/MSRA/R-50": "ImageNetPretrained/MSRA/R-50.pkl",
    "ImageNetPretrained/MSRA/R-101": "ImageNetPretrained/MSRA/R-101.pkl",
    "ImageNetPretrained/FAIR/R-50-GN": "ImageNetPretrained/47261647/R-50-GN.pkl",
    "ImageNetPretrained/FAIR/R-101-GN": "ImageNetPretrained/47592356/R-101-GN.pkl",
    "ImageNetPretrained/FAIR/X-101-32x8d": "ImageNetPretrained/20171220/X-101-32x8d.pkl",
    "ImageNetPretrained/FAIR/X-101-64x4d": "ImageNetPretrained/FBResNeXt/X-101-64x4d.pkl",
    "ImageNetPretrained/FAIR/X-152-32x8d-IN5k": "ImageNetPretrained/25093814/X-152-32x8d-IN5k.pkl",
}
# The MD5 of a published file starts with these digits, SHA-256 where torch published it (as `net-0123abcd.pth`).
_DIGITS = ((re.compile(r"_([0-9a-f]{6})\.\w+$"), "md5"), (re.compile(r"-([0-9a-f]{8,64})\.\w+$"), "sha256"))


def cache_folder() -> Path:
    """Where downloaded files are kept; it may not be there yet."""
    setting = os.environ.get(CACHE)
    return Path(setting).expanduser() if setting else Path.home() / ".cache" / "det"


def resolve(source: str) -> str:
    """The https address of a published file: `detectron2://...` and `catalog://...` are short for one.

    Raises:
        WeightsError: the catalogue has no such entry.
    """
    scheme, _, rest = source.partition("://")
    if scheme == "detectron2":
        return f"{_PUBLISHED}/detectron2/{rest.partition('?')[0]}"
    if scheme == "catalog":
        if rest not in _CATALOG:
            raise WeightsError(source, "is not in the catalogue", fix=f"it has {', '.join(_CATALOG)}")
        return f"{_PUBLISHED}/detectron/{_CATALOG[rest]}"
    return source


def fetch(source: str) -> Path:
    """The file behind a source, downloaded where it is not here yet.

    Args:
        source: a local path, `https://...`, `detectron2://...`, `catalog://...`, or `hf://owner/repository/file`;
            `hf://owner/repository@revision` is the file of `Detector.push_to_hub`.

    Raises:
        WeightsError: it cannot be downloaded or written, or its hash is not that in its name.
        MissingExtraError: `hf://` needs det-inspect and huggingface_hub.
    """
    if "://" not in source:
        return Path(source)
    if source.startswith("hf://"):
        fetched: Path = function("hf:// addresses")(source)
        return fetched
    address = resolve(source)
    parts = urlsplit(address)
    if parts.scheme not in ("https", "http") or not Path(parts.path).name:
        fix = "give a local path, https://..., detectron2://..., catalog://... or hf://owner/repository/file"
        raise WeightsError(source, "is no source of weights", f"got the scheme {parts.scheme!r}", fix)
    folder = cache_folder() / "weights" / hashlib.sha256(address.encode()).hexdigest()[:16]
    path = folder / re.sub(r"[^\w.-]", "_", unquote(Path(parts.path).name))
    if path.exists():
        return path
    if offline():
        raise WeightsError(source, f"is not here, and {OFFLINE} is set", fix=f"put it at {path}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder / "lock"):
            if not path.exists():
                part = path.with_name(f"{path.name}.part")
                download(address, part)
                if is_page(part):
                    part.unlink()
                    fix = f"open {address} in a browser; it may ask to sign in"
                    raise WeightsError(source, "cannot be downloaded", "the answer is a web page", fix)
                _verify(part, path.name, source)
                part.replace(path)
    except WeightsError:
        raise
    except (urllib.error.URLError, HTTPException, OSError, ValueError) as error:
        detail = str(error).strip("<>").removeprefix("urlopen error ") or type(error).__name__
        raise WeightsError(source, "cannot be downloaded", detail, f"try again, or put the file at {path}") from error
    return path


def offline() -> bool:
    """Whether DET_OFFLINE forbids downloads."""
    return os.environ.get(OFFLINE, "").lower() in ("1", "true", "yes")


def _verify(part: Path, name: str, source: str) -> None:
    """Compare the file with the digits that its published name holds, if it holds any."""
    for pattern, algorithm in _DIGITS:
        if digits := pattern.search(name):
            with part.open("rb") as file:
                digest = hashlib.file_digest(file, algorithm).hexdigest()
            if not digest.startswith(digits[1]):
                part.unlink()
                problem = f"is not the published file: its {algorithm} should start with {digits[1]}"
                raise WeightsError(source, problem, f"it starts with {digest[: len(digits[1])]}", "download it again")
            return
