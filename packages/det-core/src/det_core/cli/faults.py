"""The faults of a recipe, before anything is loaded that takes seconds."""

import contextlib

from det_core.errors import MissingExtraError
from det_core.plugins import known

__all__ = ["refuse_faults"]


def refuse_faults(*arguments: object) -> None:
    """Print all faults that `det_inspect.faults.find_faults` finds, and end; nothing where that is not installed."""
    with contextlib.suppress(MissingExtraError):
        known.function("faults of a recipe")(*arguments)
