"""The faults of a recipe and of the files it names, found before torch is imported."""

from det_inspect.faults.find import find_faults

__all__ = ["find_faults"]
