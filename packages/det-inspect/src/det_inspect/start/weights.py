"""Weights to begin with: from a file, from the caches of det and torch, or downloaded; else none."""

import os
from dataclasses import dataclass
from pathlib import Path

from det_core.errors import WeightsError

__all__ = ["Weights", "find_weights"]

_SMALL = "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"


@dataclass(frozen=True)
class Weights:
    """The weights that a recipe begins with.

    Attributes:
        source: `source` of the section `weights` of a recipe; "" for random values.
        origin: a sentence on where they come from, or why there are none.
    """

    source: str
    origin: str


def find_weights(file: Path | None, address: str = _SMALL) -> Weights:
    """The weights of `file`, or those published at `address`, which are downloaded once.

    Raises:
        WeightsError: `file` does not exist.
    """
    if file is not None:
        if not file.is_file():
            raise WeightsError(str(file), "there is no such file", fix="check --weights")
        return Weights(str(file), f"from {file}")
    from det_core.weights.sources import cache_folder, fetch

    hub = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch")) / "hub" / "checkpoints"
    name = address.rpartition("/")[2]
    if (hub / name).is_file():
        return Weights(str(hub / name), f"from torch's cache, {hub}")
    try:
        fetch(address)
    except WeightsError as error:
        return Weights(
            "", f"{name} is neither in {cache_folder()} nor can it be downloaded ({error.found or error.problem})"
        )
    return Weights(address, f"{name}, kept in {cache_folder()}")
