"""Limits for reading one file: number of parts, bytes and depth. A file that exceeds them is refused.

The figures are chosen so that a refusal takes less than two seconds of a processor and 300 MB of memory, and that files
of models with thousands of layers stay far below them.
"""

__all__ = ["MIB", "Budget", "OverBudgetError"]

MIB = 2**20


class OverBudgetError(ValueError):
    """A file exceeds a limit; the text is the end of a sentence, such as "it has more than 9 parts"."""


class Budget:
    """Counts down while a file is read.

    Args:
        parts: values, containers and steps of a program that makes them.
        size: bytes of numbers and texts beyond those that the file itself holds.
        depth: maximum depth of containers within containers.
    """

    def __init__(self, parts: int = 500_000, size: int = 16 * MIB, depth: int = 100) -> None:
        self.parts, self.size, self.depth = parts, size, depth
        self._parts, self._size = parts, size

    def spend_parts(self, count: int = 1) -> None:
        """Take some parts; OverBudgetError where they are used up."""
        self._parts -= count
        if self._parts < 0:
            raise OverBudgetError(f"it has more than {self.parts} parts")

    def spend_size(self, count: int) -> None:
        """Take some bytes; OverBudgetError where they are used up."""
        self._size -= count
        if self._size < 0:
            raise OverBudgetError(f"it makes more than {self.size // MIB} MiB of what it holds")

    def require_depth(self, depth: int) -> None:
        """Raise OverBudgetError below the deepest level."""
        if depth > self.depth:
            raise OverBudgetError(f"it is nested deeper than {self.depth} levels")
