"""Names that can be imported; their use is an error that names the counterpart in det."""

from collections.abc import Callable
from typing import Any, NoReturn

from det_core.errors import MissingExtraError

__all__ = ["EXPORT", "missing"]

EXPORT = "export the weights with det: det export CHECKPOINT --format onnx (package det-export)"


def missing(name: str, fix: str = EXPORT) -> Callable[..., Any]:
    """A function that raises MissingExtraError with a name and its counterpart."""

    def called(*args: Any, **kwargs: Any) -> NoReturn:
        raise MissingExtraError(name, "is not part of det's layer for Detectron2", fix=fix)

    called.__name__ = called.__qualname__ = name.rpartition(".")[2]
    called.__doc__ = f"Not there: {fix}."
    return called
