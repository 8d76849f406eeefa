"""Reads untrusted JSON files: an invalid file is refused after its first megabyte, whatever its length."""

import json
from pathlib import Path
from typing import Any

from det_safeload.budget import MIB
from det_safeload.content import ContentError
from det_safeload.regular import open_regular

__all__ = ["read"]

# Bytes checked before a file is read as a whole, and bytes of its end that one cut text may take up.
_HEAD, _CUT = 2**20, 2**18
_MEMORY, _GROWTH = 100 * MIB, 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read(path: Path, what: str = "file") -> Any:
    """The content of a JSON file; `what` names its kind in errors.

    Raises:
        ContentError: there is no such file, or it cannot be read, or is not JSON.
    """
    where, fix = str(path), "the file may be cut short: get it again"
    try:
        with open_regular(path) as stream:
            head = stream.read(_HEAD)
            if len(head) == _HEAD:
                _require_beginning(head.removeprefix(_BYTE_ORDER_MARK).decode(errors="replace"))
            content = head + stream.read()
            _require_substance(content, where, what)
            return json.loads(content.removeprefix(_BYTE_ORDER_MARK).decode())
    except FileNotFoundError as error:
        raise ContentError(where, f"there is no such {what}", fix="check the path") from error
    except OSError as error:
        raise ContentError(where, f"the {what} cannot be read", error.strerror or str(error)) from error
    except MemoryError as error:
        raise ContentError(where, f"the {what} does not fit into memory") from error
    except ContentError:
        raise
    except (ValueError, RecursionError) as error:
        raise ContentError(where, f"the {what} is not valid JSON", str(error), fix) from error


def _require_substance(content: bytes, where: str, what: str) -> None:
    """Refuse empty lists and objects by the million, which take thirty times the memory that they take in the file."""
    parts = content.count(b"[") + content.count(b"{")
    memory = 80 * content.count(b"[") + 200 * content.count(b"{")
    if memory > _MEMORY and memory > _GROWTH * len(content):
        found = f"it has {parts} lists and objects in {len(content)} bytes"
        raise ContentError(where, f"the {what} asks for too much", found, "give a file of values")


def _require_beginning(text: str) -> None:
    """Raise ValueError or RecursionError unless JSON can begin like this."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        # A sound file that is cut here fails at the cut, or at the beginning of the text that the cut goes through.
        if error.pos < len(text) - _CUT:
            raise
