"""Pickles of arrays, as Detectron, Detectron2 and D2Go published them, read by det_safeload; its refusals as errors."""

from pathlib import Path
from typing import Any

from det_safeload import pickles
from det_safeload.budget import OverBudgetError
from det_safeload.machine import RefusedError

from det_core.errors import WeightsError
from det_core.printable import described

__all__ = ["read_pickle"]

_AGAIN = "copy or download it again"


def read_pickle(path: Path, parts: int = 500_000) -> Any:
    """What a pickle holds: numbers, text, bytes, lists, tuples, sets, dictionaries and NumPy arrays of numbers.

    Args:
        path: the file.
        parts: how many values and instructions it may have.

    Raises:
        WeightsError: the file asks for anything else or for too much, or is damaged, or no pickle.
    """
    where = str(path)
    try:
        return pickles.read_pickle(path, parts)
    except OSError as error:
        raise WeightsError(where, "cannot be read", error.strerror or str(error)) from error
    except (RefusedError, OverBudgetError) as refused:
        fix = "it may be hostile: get the weights from somebody you trust, as .safetensors"
        raise WeightsError(where, "holds more than arrays, and was not read", str(refused), fix) from None
    except MemoryError:
        raise WeightsError(where, "is damaged", "it asks for more memory than there is", _AGAIN) from None
    except Exception as error:  # a damaged pickle can fail in any way, all of them inside the reader
        raise WeightsError(where, "is damaged, or no weight file", described(error, 200), _AGAIN) from error
