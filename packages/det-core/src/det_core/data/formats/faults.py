"""Faults of entries of a dataset: a kind, and a sentence."""

from typing import NamedTuple

__all__ = ["Fault"]


class Fault(NamedTuple):
    """The fault of an entry: its kind, by which `det data check` groups, and the end of a sentence."""

    kind: str
    text: str
