"""The data and solver settings of Detectron2, as the `data` and `train` sections of a recipe."""

from typing import Any, Protocol


class _Settings(Protocol):
    def __getitem__(self, key: str) -> Any: ...


def sections(s: _Settings) -> dict[str, Any]:
    """The sections."""
    return {}
