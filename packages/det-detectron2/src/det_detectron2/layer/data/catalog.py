"""Data sets and what is known about them by name, as `detectron2.data.catalog`."""

import types
from collections import UserDict
from collections.abc import Callable
from typing import Any

__all__ = ["DatasetCatalog", "Metadata", "MetadataCatalog"]


class _DatasetCatalog(UserDict):
    """Functions without arguments that give a data set, a list of mappings, by its name."""

    def register(self, name: str, func: Callable[[], list[dict[str, Any]]]) -> None:
        """Let `get` call `func` for a name."""
        assert callable(func), "You must register a function with `DatasetCatalog.register`!"
        assert name not in self, f"Dataset '{name}' is already registered!"
        self[name] = func

    def get(self, name: str) -> Any:  # type: ignore[override]
        """The data set; KeyError, with the names that there are, if there is none."""
        if name not in self:
            names = ", ".join(self)
            raise KeyError(f"Dataset '{name}' is not registered! Available datasets are: {names}")
        return self[name]()

    def list(self) -> list[str]:
        """The names."""
        return [*self.keys()]

    def remove(self, name: str) -> None:
        """Forget a name."""
        self.pop(name)

    def __str__(self) -> str:
        return f"DatasetCatalog(registered datasets: {', '.join(self)})"

    __repr__ = __str__


class Metadata(types.SimpleNamespace):
    """What is known about a data set, such as `thing_classes`; a value is set once."""

    name: str = "N/A"

    _RENAMED = types.MappingProxyType(
        {"class_names": "thing_classes", "dataset_id_to_contiguous_id": "thing_dataset_id_to_contiguous_id",
         "stuff_class_names": "stuff_classes"}
    )  # fmt: skip

    def __getattr__(self, key: str) -> Any:
        if key in self._RENAMED:
            return getattr(self, self._RENAMED[key])
        if key.startswith("__"):
            raise AttributeError(key)
        names = ", ".join(self.__dict__) or "none"
        fix = "MetadataCatalog.get(name).set(...) sets it; a data set that is registered again has new metadata"
        raise AttributeError(
            f"Attribute '{key}' does not exist in the metadata of dataset '{self.name}': {names}; {fix}"
        )

    def __setattr__(self, key: str, val: Any) -> None:
        key = self._RENAMED.get(key, key)
        if key in self.__dict__ and self.__dict__[key] != val:
            old = self.__dict__[key]
            found = f"{old} != {val}"
            raise AssertionError(f"'{key}' in the metadata of '{self.name}' cannot be set to another value: {found}")
        super().__setattr__(key, val)

    def as_dict(self) -> dict[str, Any]:
        """A copy as a mapping."""
        return dict(self.__dict__)

    def set(self, **kwargs: Any) -> "Metadata":
        """Set several values."""
        for key, value in kwargs.items():
            setattr(self, key, value)
        return self

    def get(self, key: str, default: Any = None) -> Any:
        """A value, or `default`."""
        try:
            return getattr(self, key)
        except AttributeError:
            return default


class _MetadataCatalog(UserDict):
    """`Metadata` by the name of the data set, made when it is first asked for."""

    def get(self, name: str) -> Metadata:  # type: ignore[override]
        """The metadata of a data set."""
        assert name
        if name not in self:
            self[name] = Metadata(name=name)
        metadata: Metadata = self[name]
        return metadata

    def list(self) -> list[str]:
        """The names."""
        return [*self.keys()]

    def remove(self, name: str) -> None:
        """Forget a name."""
        self.pop(name)

    def __str__(self) -> str:
        return f"MetadataCatalog(registered metadata: {', '.join(self)})"

    __repr__ = __str__


DatasetCatalog, MetadataCatalog = _DatasetCatalog(), _MetadataCatalog()
