"""The one word that what is wrong with a dataset is sorted by, and the sentence that tells it."""

from typing import NamedTuple

__all__ = ["Fault"]


class Fault(NamedTuple):
    """What is wrong with an entry: its kind, as `det data check` groups by it, and the end of a sentence about it."""

    kind: str
    text: str
