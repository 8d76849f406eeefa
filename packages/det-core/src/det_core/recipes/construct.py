"""Calls a constructor for a recipe, and checks its result against the annotation."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, get_origin, is_typeddict, runtime_checkable

from det_core.errors import ConfigError, DetError
from det_core.plugins.hooks import CONTRACTS
from det_core.printable import described
from det_core.recipes.signatures import describe, name_of, unwrapped

__all__ = ["class_of", "construct", "is_contract", "kind_of", "require_methods"]


def kind_of(annotation: Any) -> str | None:
    """The kind of component of a contract; None for any other annotation."""
    plain = unwrapped(annotation)
    if not getattr(plain, "__module__", "").startswith("det_core.contracts"):
        return None
    return CONTRACTS.get(getattr(plain, "__qualname__", ""))


def is_contract(annotation: Any) -> bool:
    """Whether the annotation is a Protocol, not a class."""
    return bool(getattr(unwrapped(annotation), "_is_protocol", False))


def class_of(annotation: Any) -> type | None:
    """The class that a node without `type` calls; None for contracts, Any, numbers, text and containers."""
    plain = get_origin(unwrapped(annotation)) or unwrapped(annotation)
    if not isinstance(plain, type) or plain is Any or is_contract(plain) or is_typeddict(plain):
        return None
    return None if plain.__module__ in ("builtins", "collections.abc") else plain


def construct(target: Callable[..., Any], arguments: Mapping[str, Any], where: str, expected: Any = Any) -> Any:
    """`target(**arguments)`; errors get the place in the recipe, and keep their cause.

    Raises:
        ConfigError: the constructor raises, or its result does not fit `expected`.
        DetError: the constructor raised it; `where` stands before its own place.
    """
    where = where or name_of(target)
    try:
        built = target(**arguments)
    except DetError as error:
        if error.where != where and not error.where.startswith(f"{where}."):
            error.where = f"{where}: {error.where}"
        raise
    except Exception as error:
        raise ConfigError(where, f"{name_of(target)} cannot be built", described(error)) from error
    _require_fit(built, expected, where)
    return built


def require_methods(target: Any, expected: Any, where: str) -> None:
    """Raise ConfigError for a class that lacks a method of the contract `expected`, before anything is built."""
    if isinstance(target, type) and is_contract(expected):
        methods, _ = _members(unwrapped(expected))
        _complain(name_of(target), [name for name in methods if not hasattr(target, name)], expected, where)


def _require_fit(built: Any, expected: Any, where: str) -> None:
    if is_contract(expected):
        methods, attributes = _members(unwrapped(expected))
        missing = [name for name in (*attributes, *methods) if not hasattr(built, name)]
        _complain(name_of(type(built)), missing, expected, where)
    elif (expected_class := class_of(expected)) and not isinstance(built, expected_class):
        raise ConfigError(where, f"must be {describe(expected)}", f"got {describe(type(built))}")


def _members(contract: type) -> tuple[list[str], list[str]]:
    """The methods and the attributes that a Protocol names, its own and those of the protocols that it extends."""
    methods: dict[str, None] = {}
    attributes: dict[str, None] = {}
    for base in reversed([base for base in contract.__mro__ if getattr(base, "_is_protocol", False)]):
        attributes |= dict.fromkeys(inspect.get_annotations(base))
        members = {name: value for name, value in vars(base).items() if name not in _OF_ANY_PROTOCOL}
        methods |= {name: None for name, value in members.items() if callable(value)}
        attributes |= {name: None for name, value in members.items() if isinstance(value, property)}
    return list(methods), list(attributes)


@runtime_checkable
class _Example(Protocol):
    an_attribute: int

    def a_method(self) -> None: ...


# Attributes of every Protocol class, which differ between versions of Python.
_OF_ANY_PROTOCOL = vars(_Example).keys() - {"an_attribute", "a_method"}


def _complain(name: str, missing: list[str], expected: Any, where: str) -> None:
    if missing:
        lacks = ", ".join(repr(each) for each in missing)
        fix = f"see {unwrapped(expected).__module__}.{name_of(unwrapped(expected))}"
        raise ConfigError(where, f"{name} is not {describe(expected)}", f"it lacks {lacks}", fix)
