"""JSON files of others, as `det_safeload.jsonfile` reads them; a refusal is a `DataError`."""

from pathlib import Path
from typing import Any

from det_safeload import jsonfile
from det_safeload.content import ContentError

from det_core.errors import DataError

__all__ = ["read"]


def read(path: Path, what: str = "annotation file") -> Any:
    """The content of a JSON file; `what` names its kind in errors.

    Raises:
        DataError: there is no such file, or it cannot be read, is not JSON, or takes too much memory.
    """
    try:
        return jsonfile.read(path, what)
    except ContentError as error:
        raise DataError(error.where, error.problem, error.found, error.fix) from error.__cause__
