"""Libraries that det-inspect does not require."""

import importlib
from typing import Any

from det_core.errors import MissingExtraError

__all__ = ["optional"]


def optional(module: str, where: str) -> Any:
    """A module of a library that det-inspect does not require.

    Raises:
        MissingExtraError: the library is not installed; the error starts with `where`.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        problem = f"needs {package}, which is not installed"
        raise MissingExtraError(where, problem, fix=f"pip install {package}") from error
