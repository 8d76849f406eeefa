"""Names of classes, as `detectron2.utils.registry`."""

import importlib
import pydoc
import sys
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Registry", "locate"]

_LAYER = "det_detectron2.layer"


def as_detectron2_active() -> bool:
    """Whether `detectron2` stands for the layer in this process."""
    loaded = sys.modules.get("det_detectron2.as_detectron2")
    return loaded is not None and bool(loaded.active())


class Registry:
    """Objects by their names, such as backbones; `@REGISTRY.register()` adds a class or function under its own.

    Args:
        name: name of the registry, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._obj_map: dict[str, Any] = {}

    def register(self, obj: Any = None) -> Any:
        """Add an object, or, without one, return a decorator that does."""
        if obj is None:

            def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
                self._add(function)
                return function

            return decorated
        self._add(obj)
        return None

    def _add(self, obj: Any) -> None:
        name = obj.__name__
        assert name not in self._obj_map, f"An object named '{name}' was already registered in '{self._name}' registry!"
        self._obj_map[name] = obj

    def get(self, name: str) -> Any:
        """The object of a name; KeyError if there is none."""
        if name not in self._obj_map:
            raise KeyError(f"No object named '{name}' found in '{self._name}' registry!")
        return self._obj_map[name]

    def __contains__(self, name: str) -> bool:
        return name in self._obj_map

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self._obj_map.items())

    def __repr__(self) -> str:
        return f"Registry of {self._name}: {', '.join(self._obj_map)}"


def _convert_target_to_string(t: Any) -> str:
    """The path that `locate` finds an object by, the shortest module that has it."""
    if isinstance(t, str):
        return t
    module, qualname = t.__module__, t.__qualname__
    if as_detectron2_active() and module.startswith(_LAYER):
        module = "detectron2" + module.removeprefix(_LAYER)  # the name that programs and files use
    parts = module.split(".")
    for count in range(1, len(parts)):
        shorter = ".".join(parts[:count])
        try:
            if getattr(importlib.import_module(shorter), qualname, None) is t:
                return f"{shorter}.{qualname}"
        except ImportError:
            continue
    return f"{module}.{qualname}"


def locate(name: str) -> Any:
    """The object that a dotted path names, such as "a.b.Class" or "a.b.Class.Inner"; ImportError if there is none."""
    target = pydoc.locate(name)
    if target is not None:
        return target
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            target = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            target = getattr(target, part, None)
        if target is not None:
            return target
    raise ImportError(f"Cannot dynamically locate object {name}!")
