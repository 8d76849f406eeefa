"""Zip files of torch: their metadata, and the checks before they are opened."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

from det_core.errors import CheckpointError

from det_export.metadata import KEY, LONGEST, Metadata

__all__ = ["NATIVE", "append_metadata", "examined", "names_of", "require_trust"]

NATIVE = "/data/aotinductor/"
"""Where native code lies in a `.pt2` file."""

_FILES = 100_000
_FIX = "export the model again"


def examined(path: Path, kind: str, compressed: int = 0) -> Metadata:
    """The metadata of a file, before anything else of it is opened.

    Args:
        path: path of the archive to examine.
        kind: description of the file in error messages, such as ".pt2 file".
        compressed: maximum total size in bytes of compressed entries after unpacking; 0 refuses compression.

    Raises:
        CheckpointError: the file is missing or damaged, unpacks to more than it holds, or was not written by det.
    """
    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _bounded(archive, path, compressed)
            matches = [entry for entry in entries if f"/{entry.filename}".endswith(f"/extra/{KEY}")]
            if not matches:
                problem = "was not written by det: it lacks the metadata that name its outputs"
                raise CheckpointError(where, problem, fix="write it with `det export`")
            if matches[0].file_size > LONGEST:
                raise CheckpointError(where, "has metadata that are too long", f"{matches[0].file_size} bytes", _FIX)
            return Metadata.of_json(archive.read(matches[0]), where)
    except FileNotFoundError as error:
        raise CheckpointError(where, "does not exist") from error
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, io.UnsupportedOperation) as error:
        raise CheckpointError(where, f"is damaged, or no {kind}", str(error)[:200], _FIX) from error


def names_of(path: Path) -> Sequence[str]:
    """The names in a zip file; errors as of `examined`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [entry.filename for entry in _bounded(archive, path)]
    except FileNotFoundError as error:
        raise CheckpointError(str(path), "does not exist") from error
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise CheckpointError(str(path), "is damaged, or no zip file of torch", str(error)[:200], _FIX) from error


def _bounded(archive: zipfile.ZipFile, path: Path, compressed: int = 0) -> Sequence[zipfile.ZipInfo]:
    entries = archive.infolist()
    stored = sum(entry.file_size for entry in entries if entry.compress_type == zipfile.ZIP_STORED)
    unpacked = sum(entry.file_size for entry in entries if entry.compress_type != zipfile.ZIP_STORED)
    fits = stored <= path.stat().st_size and (unpacked <= compressed or stored + unpacked <= path.stat().st_size)
    if len(entries) > _FILES or not fits:
        # torch stores what it writes uncompressed, but for the code of TorchScript: the rest is a bomb.
        raise CheckpointError(str(path), "unpacks to more than torch.export writes", fix=_FIX)
    return entries


def append_metadata(path: Path, metadata: Metadata) -> None:
    """Put the metadata beside what torch wrote into a zip file, once."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        root = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{root}/extra/{KEY}", metadata.to_json())


def require_trust(path: Path, trust: bool, reason: str) -> None:
    """CheckpointError unless the file is trusted."""
    if not trust:
        fix = "pass --trust, or trust=True, if you know who wrote the file; onnx and torch_export files need no trust"
        raise CheckpointError(str(path), "runs code of its own, which is not done unasked", reason, fix)
