"""The objects of one image, as `detectron2.structures.instances`."""

import itertools
import warnings
from typing import Any

import torch
from torch import Tensor

__all__ = ["Instances"]


class Instances:
    """Fields of the same length about the objects of one image: `instances.pred_boxes`, `instances.scores`, ...

    Args:
        image_size: (height, width) in pixels.
        kwargs: fields by name, each of the same length.
    """

    def __init__(self, image_size: tuple[int, int], **kwargs: Any) -> None:
        self._image_size = image_size
        self._fields: dict[str, Any] = {}
        for name, value in kwargs.items():
            self.set(name, value)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self._image_size

    def __setattr__(self, name: str, val: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, val)
        else:
            self.set(name, val)

    def __getattr__(self, name: str) -> Any:
        if name == "_fields" or name not in self._fields:
            raise AttributeError(f"Cannot find field '{name}' in the given Instances!")
        return self._fields[name]

    def set(self, name: str, value: Any) -> None:
        """Set a field, which has as many entries as the others."""
        with warnings.catch_warnings(record=True):
            length = len(value)
        if self._fields:
            assert len(self) == length, f"Adding a field of length {length} to a Instances of length {len(self)}"
        self._fields[name] = value

    def has(self, name: str) -> bool:
        """Whether there is a field of this name."""
        return name in self._fields

    def remove(self, name: str) -> None:
        """Remove a field."""
        del self._fields[name]

    def get(self, name: str) -> Any:
        """A field."""
        return self._fields[name]

    def get_fields(self) -> dict[str, Any]:
        """All fields; changing the mapping changes the instances."""
        return self._fields

    def to(self, *args: Any, **kwargs: Any) -> "Instances":
        """With all fields that can be moved on another device."""
        moved = Instances(self._image_size)
        for name, value in self._fields.items():
            moved.set(name, value.to(*args, **kwargs) if hasattr(value, "to") else value)
        return moved

    def __getitem__(self, item: Any) -> "Instances":
        """Some of the objects: an index, a slice, or a tensor of indices or bools."""
        if type(item) is int:
            if item >= len(self) or item < -len(self):
                raise IndexError("Instances index out of range!")
            item = slice(item, None if item == -1 else item + 1)
        selection = Instances(self._image_size)
        for name, value in self._fields.items():
            selection.set(name, value[item])
        return selection

    def __len__(self) -> int:
        for value in self._fields.values():
            return len(value)
        raise NotImplementedError("Empty Instances does not support __len__!")

    def __iter__(self) -> Any:
        raise NotImplementedError("`Instances` object is not iterable!")

    @staticmethod
    def cat(instance_lists: "list[Instances]") -> "Instances":
        """All objects of several, in order; images and fields are the same."""
        assert instance_lists
        assert all(isinstance(each, Instances) for each in instance_lists)
        first = instance_lists[0]
        if len(instance_lists) == 1:
            return first
        if not isinstance(first.image_size, Tensor):
            assert all(each.image_size == first.image_size for each in instance_lists)
        joined = Instances(first.image_size)
        for name, field in first._fields.items():
            values = [each.get(name) for each in instance_lists]
            if isinstance(field, Tensor):
                values = torch.cat(values, dim=0)  # type: ignore[assignment]
            elif isinstance(field, list):
                values = list(itertools.chain(*values))
            elif hasattr(type(field), "cat"):
                values = type(field).cat(values)
            else:
                raise ValueError(f"Unsupported type {type(field)} for concatenation")
            joined.set(name, values)
        return joined

    def __str__(self) -> str:
        fields = ", ".join(f"{name}: {value}" for name, value in self._fields.items())
        count = len(self) if self._fields else 0
        height, width = self._image_size
        return f"Instances(num_instances={count}, image_height={height}, image_width={width}, fields=[{fields}])"

    __repr__ = __str__
