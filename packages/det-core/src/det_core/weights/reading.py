"""Reads weight files into plain dictionaries of tensors; no code that a file brings is run."""

import pickle
import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zipfile import BadZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from det_core.config import Source
from det_core.errors import WeightsError

__all__ = ["read"]

_WRAPPERS = ("model", "state_dict", "model_state_dict", "model_state")
"""Where training programs keep the weights in a file that holds more than those."""


def read(source: Source | str | Path) -> dict[str, Tensor]:
    """The tensors of a weight file, on the CPU, by name.

    Reads `.safetensors` (det's checkpoints among them) and what `torch.save` wrote, either a state dict or a training
    state with one under "model" or "state_dict". A URL is downloaded once, to torch's cache folder.

    Raises:
        WeightsError: the file is missing, damaged, of another kind, or cannot be downloaded.
    """
    path = _local(str(source))
    where = str(source)
    if path.is_dir():
        raise WeightsError(where, "must be a file", "it is a folder", "name the weight file in it")
    if not path.exists():
        raise WeightsError(where, "there is no such file", fix="check the path, and DET_DATA for a relative one")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            fix = "copy or download it again"
            raise WeightsError(where, "is damaged, or no safetensors file", str(error), fix) from error
    if path.suffix == ".pkl":
        raise WeightsError(where, "is a plain pickle, which cannot be read yet", fix="convert it to .safetensors")
    return _state_dict(_unpickled(path, where), where)


def _unpickled(path: Path, where: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found, fix = str(error).partition("\n")[0], "save the state dict alone: torch.save(model.state_dict(), ...)"
        raise WeightsError(where, "holds more than tensors, or is no weight file", found, fix) from error
    except (RuntimeError, OSError, EOFError, BadZipFile, UnicodeDecodeError, ValueError) as error:
        found = str(error).partition("\n")[0]
        raise WeightsError(where, "is damaged, or no weight file", found, "copy or download it again") from error


def _state_dict(content: Any, where: str) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(where, "holds no state dict", f"found {type(content).__name__} of no tensors")
    if others := [key for key, value in content.items() if not isinstance(value, Tensor)]:
        found = f"{others[0]!r} is {type(content[others[0]]).__name__}"
        raise WeightsError(where, "must hold tensors alone, by name", found, "save the state dict alone")
    return {str(key): value for key, value in content.items()}


def _local(source: str) -> Path:
    """The file itself, downloaded where the source is a URL."""
    if "://" not in source:
        return Path(source)
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(source).path).name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(source, str(path))
        except (urllib.error.URLError, OSError, ValueError) as error:
            fix = f"download it by other means to {path}"
            raise WeightsError(source, "cannot be downloaded", str(error), fix) from error
    return path
