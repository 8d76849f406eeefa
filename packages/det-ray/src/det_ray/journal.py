"""Which image a worker was at when it died: a block is tried again, and an image that ends each try is left out."""

import os
from collections import Counter
from pathlib import Path

__all__ = ["Journal"]

_DEADLY = 2  # tries that ended at an image


class Journal:
    """The tries of a block, in a file that is removed when the block is complete.

    The first try works in batches. Later ones, which there are if a worker died, go image by image and note each.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        tries = path.read_text("utf-8").split("\n\n")[1:] if path.exists() else []
        ended_at = Counter(lines[-1] for each in tries if (lines := each.split()))
        self.careful = bool(tries)
        self._deadly = {int(index) for index, count in ended_at.items() if count >= _DEADLY and index.isdigit()}
        self._append("\n\n")

    def deadly(self, index: int) -> bool:
        """Whether two tries ended at the image of this index in the block."""
        return index in self._deadly

    def begin(self, index: int) -> None:
        """Note that an image is begun."""
        self._append(f"{index}\n")

    def _append(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)
