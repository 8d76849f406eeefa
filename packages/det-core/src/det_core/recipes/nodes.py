"""Calls that are not made yet: `Factory`, which a parent calls, and the parts of a checked recipe, which build.

Public as `det_core.recipes.check.Factory` and `det_core.recipes.check.Plan`.
"""

import enum
import functools
import re
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from det_core.errors import ConfigError, DetError
from det_core.plugins import registry
from det_core.recipes.construct import construct
from det_core.recipes.signatures import NOTHING, Argument, Signature, format_value, name_of, signature_of

__all__ = ["Call", "Entries", "Factory", "Items", "NoDataError", "Plan", "Value", "data_of", "lookup", "require_all"]

T_co = TypeVar("T_co", covariant=True)


class Plan(Protocol):
    """A checked node of a recipe."""

    def build(self) -> Any:
        """The value; constructors are called, from the leaves up."""
        ...

    def resolved(self) -> Any:
        """The node again as plain data, with qualified names and all values, the defaults included."""
        ...


class Factory(Generic[T_co]):
    """A constructor with some of its arguments, to be called by a parent that knows the others.

    A recipe makes one of each node whose parameter is annotated `Factory[T]`; in Python one is written
    `Factory(FastRCNNConvFCHead, num_fc=2)`. It does not change, so it may be a default.

    Args:
        target: a class or any other callable.
        arguments: keyword arguments; a nested `Factory` is passed on unbuilt.

    Raises:
        ConfigError: `target` has no such argument.
    """

    def __init__(self, target: Callable[..., T_co], /, **arguments: Any) -> None:
        self.target, self.arguments = target, arguments
        self._where, self._expected = name_of(target), typing.cast(Any, Any)
        signature = signature_of(target)
        for name in arguments:
            lookup(name, signature, target, "")

    @classmethod
    def of(cls, target: "Callable[..., T_co] | Factory[T_co]") -> "Factory[T_co]":
        """A class, a partial or a factory as a factory, so that a parent can pass more than the target asks for."""
        return target if isinstance(target, Factory) else cls(target)

    def __call__(self, **kwargs: Any) -> T_co:
        """Build with further arguments of the parent; those that the signature lacks are left out.

        Raises:
            ConfigError: an argument is given twice with different values, or is missing, or the constructor raises.
        """
        signature = signature_of(self.target)
        kwargs = {name: value for name, value in kwargs.items() if signature.open or name in signature.arguments}
        parts = {name: part.build() if isinstance(part, _PARTS) else part for name, part in self.arguments.items()}
        for name in kwargs.keys() & parts.keys():
            # A value that only repeats the default, as a resolved recipe does, was not chosen by anybody.
            if not _is_default(parts[name], name, signature):
                found = f"it is set to {format_value(parts[name])}"
                raise ConfigError(f"{self._where}.{name}", "is decided by what surrounds it", found, "remove it")
        arguments = {**parts, **kwargs}
        require_all(arguments, signature, self.target, self._where)
        built: T_co = construct(self.target, arguments, self._where, self._expected)
        return built

    def __repr__(self) -> str:
        return f"Factory({', '.join([name_of(self.target), *(f'{k}={v!r}' for k, v in self.arguments.items())])})"


@dataclass(frozen=True)
class Value:
    """A leaf, and its form in a recipe."""

    value: Any
    data: Any

    def build(self) -> Any:
        """The value itself."""
        return self.value

    def resolved(self) -> Any:
        """Its spelling."""
        return self.data


@dataclass(frozen=True)
class Items:
    """A list, built into `kind`: tuple, list, set or frozenset."""

    parts: tuple[Plan, ...]
    kind: Callable[[typing.Iterable[Any]], Any]

    def build(self) -> Any:
        """The values of the parts, in order."""
        return self.kind(part.build() for part in self.parts)

    def resolved(self) -> Any:
        """A list."""
        return [part.resolved() for part in self.parts]


@dataclass(frozen=True)
class Entries:
    """A mapping; `keys` are its keys as they are built, by their spelling."""

    parts: Mapping[str, Plan]
    keys: Mapping[str, Any]

    def build(self) -> Any:
        """A dict."""
        return {self.keys[name]: part.build() for name, part in self.parts.items()}

    def resolved(self) -> Any:
        """A dict with text for keys."""
        return {name: part.resolved() for name, part in self.parts.items()}


@dataclass(frozen=True)
class Call:
    """A constructor and its checked arguments.

    Attributes:
        type_name: qualified `type` of the node; "" where the annotation determines the class.
        defaults: arguments that are not given and whose default a recipe can spell.
        expected: annotation that the built object must fit.
        unbuilt: whether the parent calls it.
    """

    target: Callable[..., Any]
    type_name: str
    arguments: Mapping[str, Plan]
    defaults: Mapping[str, Plan]
    path: str
    expected: Any = Any
    unbuilt: bool = False

    def build(self) -> Any:
        """The result of the constructor, or the factory that calls it."""
        if self.unbuilt:
            factory = Factory[Any](self.target)
            # Plans, not values: a factory that is called twice builds its parts twice.
            factory.arguments = dict(self.arguments)
            factory._where, factory._expected = self.path, self.expected
            return factory
        arguments = {name: part.build() for name, part in self.arguments.items()}
        return construct(self.target, arguments, self.path, self.expected)

    def resolved(self) -> Any:
        """A mapping: the `type`, and the arguments in the order of the signature."""
        parts = {**self.defaults, **self.arguments}
        order = [name for name in signature_of(self.target).arguments if name in parts]
        data = {"type": self.type_name} if self.type_name else {}
        return data | {name: parts[name].resolved() for name in dict.fromkeys([*order, *parts])}


_PARTS = (Value, Items, Entries, Call)


def lookup(name: str, signature: Signature, target: Any, path: str) -> Argument:
    """The argument of a name; ConfigError with the nearest ones if there is none."""
    if name in signature.arguments:
        return signature.arguments[name]
    if signature.open:
        return Argument(name, Any)
    fix = registry.did_you_mean(name, signature.arguments)
    if not fix:
        fix = f"it has {', '.join(signature.arguments)}" if signature.arguments else "it takes none"
    raise ConfigError(f"{path}.{name}" if path else name, f"{name_of(target)} has no argument {name!r}", fix=fix)


def require_all(arguments: Mapping[str, Any], signature: Signature, target: Any, path: str) -> None:
    """Raise ConfigError if an argument without a default is missing."""
    missing = [name for name, argument in signature.arguments.items() if argument.required and name not in arguments]
    if missing:
        raise ConfigError(path, f"{name_of(target)} needs {' and '.join(repr(name) for name in missing)}")


class NoDataError(Exception):
    """A value has no form in a recipe."""


def data_of(value: Any, calls: bool = False) -> Any:
    """A value of a signature as plain data; with `calls`, a bare class or partial stands for its factory.

    Raises:
        NoDataError: it has no spelling: a tensor, a lambda, an open file.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, _PARTS):
        return value.resolved()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, enum.Enum):
        return data_of(value.value)
    if isinstance(value, list | tuple | set | frozenset):
        return [data_of(item, calls) for item in value]
    if isinstance(value, Mapping):
        return {str(key): data_of(item, calls) for key, item in value.items()}
    if isinstance(value, Factory):
        return {"type": _spelling(value.target), **{k: data_of(v) for k, v in value.arguments.items()}}
    if isinstance(value, functools.partial) and not value.args:
        return {"type": _spelling(value.func), **{k: data_of(v) for k, v in value.keywords.items()}}
    if is_dataclass(value) and not isinstance(value, type):
        entries = {f.name: data_of(getattr(value, f.name)) for f in fields(value) if f.init}
        return {"type": _spelling(type(value)), **entries}
    if callable(value):
        return {"type": _spelling(value)} if calls else _spelling(value)
    raise NoDataError(repr(value))


def _spelling(target: Any) -> str:
    """The qualified name of a callable that a plugin offers, else its shortest import path."""
    module, name = getattr(target, "__module__", None) or "", getattr(target, "__qualname__", "<none>")
    packages = [module[: match.start()] for match in re.finditer(r"\.|$", module)]
    paths = [f"{package}:{name}" for package in packages if _reaches(package, name, target)]
    if not paths:
        raise NoDataError(repr(target))
    for component in registry.components():
        if component.target.startswith(packages[0]) and component.target.endswith(f":{name}"):
            try:
                if component.load() is target:
                    return component.qualified
            except DetError:
                continue  # reported where it is used
    return paths[0]


def _reaches(package: str, name: str, target: Any) -> bool:
    value = sys.modules.get(package)
    for part in name.split("."):
        value = getattr(value, part, None)
    return value is target


def _is_default(value: Any, name: str, signature: Signature) -> bool:
    default = signature.arguments[name].default if name in signature.arguments else NOTHING
    try:
        return default is not NOTHING and bool(data_of(value) == data_of(default))
    except NoDataError:
        return value is default
