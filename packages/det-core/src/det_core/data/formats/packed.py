"""Many texts in two arrays: Python objects would be copied into every worker that reads from them."""

from collections.abc import Iterable

import numpy as np

__all__ = ["PackedTexts"]


class PackedTexts:
    """Texts, by their place."""

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._bytes = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        raw = self._bytes[self._ends[index] : self._ends[index + 1]].tobytes()
        return raw.decode("utf-8", "surrogatepass")
