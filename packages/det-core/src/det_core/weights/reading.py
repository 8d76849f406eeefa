"""Reads weight files into plain dictionaries of tensors; no code that a file brings is run."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from det_safeload import pickles
from det_safeload.archives import read_archive
from det_safeload.budget import OverBudgetError
from det_safeload.machine import RefusedError
from det_safeload.tensorfiles import require_valid_head
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from det_core.errors import WeightsError
from det_core.printable import described, printable, quoted
from det_core.recipes import Source
from det_core.weights.sources import fetch, is_page

__all__ = ["read", "read_pickle"]

_AGAIN = "copy or download it again"

_WRAPPERS = ("model", "state_dict", "model_state_dict", "model_state", "blobs")
"""Where training programs keep the weights in a file that holds more than those."""
_EXPORTED = (".onnx", ".pt2", ".pte", ".ts", ".xml")


def read(source: Source | str | Path) -> dict[str, Tensor]:
    """The tensors of a weight file, on the CPU, by name.

    Reads `.safetensors` (det's checkpoints among them), what `torch.save` wrote, and pickles of NumPy arrays (`.pkl`),
    as Detectron and Detectron2 published them; either a state dict or a training state with one under "model",
    "state_dict" or "blobs". `FILE#ENTRY` takes another entry, such as "ema_state", the average that D2Go keeps; which
    others a file has is logged. What is elsewhere is downloaded once; see `det_core.weights.sources`.

    Raises:
        WeightsError: the file is missing, damaged, of another kind, has no such entry, or cannot be downloaded.
    """
    where = str(source)
    file, _, entry = where.rpartition("#") if "#" in where and not Path(where).exists() else (where, "", "")
    path = fetch(file)
    try:
        page = is_page(path)
    except FileNotFoundError as error:
        fix = "check the path, and DET_DATA for a relative one"
        raise WeightsError(where, "there is no such file", fix=fix) from error
    except IsADirectoryError as error:
        raise WeightsError(where, "must be a file", "it is a folder", "name the weight file in it") from error
    except OSError as error:
        raise WeightsError(where, "cannot be read", error.strerror or str(error)) from error
    if page:
        fix = "download it again; a site may have asked to sign in"
        raise WeightsError(where, "is no weight file", "it is a web page that was saved under this name", fix)
    if path.suffix in _EXPORTED:
        raise WeightsError(where, "is an exported file, which only predicts", fix="give the checkpoint it was made of")
    if path.suffix == ".safetensors":
        try:
            require_valid_head(path)
            return load_file(path)
        except Exception as error:  # the library raises many classes for what it does not know
            detail = str(error) if isinstance(error, ValueError | SafetensorError) else described(error, 200)
            raise WeightsError(where, "is damaged, or no safetensors file", detail, _AGAIN) from error
    if path.suffix == ".pkl":
        return _state_dict(_tensors(read_pickle(path)), where, entry)
    return _state_dict(_tensors(_unpickled(path, where)), where, entry)


def read_pickle(path: Path, parts: int = 500_000) -> Any:
    """The content of a pickle of arrays, as Detectron, Detectron2 and D2Go published them.

    Numbers, text, bytes, lists, tuples, sets, dictionaries and NumPy arrays of numbers are read, and nothing else.

    Args:
        path: path of the pickle file.
        parts: maximum number of values and instructions.

    Raises:
        WeightsError: the file asks for anything else or for too much, or is damaged, or no pickle.
    """
    where = str(path)
    try:
        return pickles.read_pickle(path, parts)
    except OSError as error:
        raise WeightsError(where, "cannot be read", error.strerror or str(error)) from error
    except (RefusedError, OverBudgetError) as refused:
        fix = "it may be hostile: get the weights from a source that you trust, as .safetensors"
        raise WeightsError(where, "holds more than arrays, and was not read", str(refused), fix) from None
    except MemoryError:
        raise WeightsError(where, "is damaged", "it asks for more memory than there is", _AGAIN) from None
    except Exception as error:  # a damaged pickle can fail in any way, all of them inside the reader
        raise WeightsError(where, "is damaged, or no weight file", described(error, 200), _AGAIN) from error


def _tensors(content: Any) -> Any:
    """The same, with tensors in place of arrays, and without what an optimizer left among the weights of Caffe2."""
    if isinstance(content, np.ndarray | np.generic):
        return torch.from_numpy(np.array(content))
    if isinstance(content, dict):
        return {key: _tensors(value) for key, value in content.items() if not str(key).endswith("_momentum")}
    return content


def _unpickled(path: Path, where: str) -> Any:
    try:
        return read_archive(path)
    except (RefusedError, OverBudgetError) as error:
        fix = "it may be hostile; its author can save the state dict alone: torch.save(model.state_dict(), ...)"
        raise WeightsError(where, "holds more than tensors, or is no weight file", str(error), fix) from error
    except Exception as error:  # a damaged file can fail in any way, all of them inside the reader
        raise WeightsError(where, "is damaged, or no weight file", described(error, 200), _AGAIN) from error


def _state_dict(content: Any, where: str, entry: str) -> dict[str, Tensor]:
    entries = {k: v for k, v in content.items() if isinstance(v, Mapping)} if isinstance(content, Mapping) else {}
    if entry and entry not in entries:
        raise WeightsError(where, f"has no entry {quoted(entry)}", f"it has {', '.join(map(str, entries)) or 'none'}")
    if name := next((key for key in (entry, *_WRAPPERS) if key in entries), ""):
        content = entries[name]
        if others := [
            k for k, v in entries.items() if k != name and v and all(isinstance(each, Tensor) for each in v.values())
        ]:
            message = "%s: the weights are those of its entry %r; it has others: name them as FILE#%s"
            logging.getLogger(__name__).warning(message, printable(where), name, printable(" or #".join(others)))
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(where, "holds no state dict", f"found {type(content).__name__} of no tensors")
    if others := [key for key, value in content.items() if not isinstance(value, Tensor)]:
        found = f"{quoted(others[0])} is {type(content[others[0]]).__name__}"
        raise WeightsError(where, "must hold tensors alone, by name", found, "save the state dict alone")
    return {str(key): value for key, value in content.items()}
