"""Many lists in two arrays: Python objects would be copied into every worker that reads from them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["PackedNumbers"]


class PackedNumbers:
    """Lists of whole numbers, by their place; each is given as a copy, int64 (K,)."""

    def __init__(self, lists: Sequence[Sequence[int]]) -> None:
        self._values = np.array([value for each in lists for value in each], np.int64)
        self._ends = np.cumsum([0, *map(len, lists)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        return self._values[self._ends[index] : self._ends[index + 1]].copy()
