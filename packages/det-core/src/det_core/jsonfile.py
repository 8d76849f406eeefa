"""Reads JSON that somebody else wrote: a file of nonsense is refused by its beginning, however long it is."""

import json
from pathlib import Path
from typing import Any

from det_core.errors import DataError
from det_core.regular import open_regular

__all__ = ["read"]

# What is looked at before a file is read as a whole, and how much of its end one cut text may take up.
_HEAD, _CUT = 2**20, 2**18
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read(path: Path, what: str = "annotation file") -> Any:
    """What a JSON file holds; `what` names its kind in errors.

    Nonsense takes no more memory than its first megabyte; a sound file is kept as a whole.

    Raises:
        DataError: there is no such file, or it cannot be read, or is not JSON.
    """
    where, fix = str(path), "the file may be cut short: get it again"
    try:
        with open_regular(path) as stream:
            head = stream.read(_HEAD)
            if len(head) == _HEAD:
                _require_beginning(head.removeprefix(_BYTE_ORDER_MARK).decode(errors="replace"))
            return json.loads((head + stream.read()).removeprefix(_BYTE_ORDER_MARK).decode())
    except FileNotFoundError as error:
        raise DataError(where, f"there is no such {what}", fix="check the path") from error
    except OSError as error:
        raise DataError(where, f"the {what} cannot be read", error.strerror or str(error)) from error
    except MemoryError as error:
        raise DataError(where, f"the {what} does not fit into memory") from error
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(where, f"the {what} is not sound JSON", str(error), fix) from error


def _require_beginning(text: str) -> None:
    """Raise ValueError or RecursionError unless JSON can begin like this."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        # A sound file that is cut here fails at the cut, or at the beginning of the text that the cut goes through.
        if error.pos < len(text) - _CUT:
            raise
