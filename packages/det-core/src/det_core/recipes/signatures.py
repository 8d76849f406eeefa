"""The signature of a callable, as the schema of a recipe's node.

Components of others may have no annotations, annotations that cannot be resolved, or no signature at all; what is not
known is not checked.
"""

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

__all__ = [
    "NOTHING",
    "Argument",
    "Signature",
    "describe",
    "format_value",
    "name_of",
    "signature_of",
    "type_hint",
    "unwrapped",
]

NOTHING: Any = inspect.Parameter.empty
"""Default of an argument without one."""


@dataclass(frozen=True)
class Argument:
    """One argument that can be given by its name."""

    name: str
    annotation: Any
    default: Any = NOTHING

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is NOTHING


@dataclass(frozen=True)
class Signature:
    """The arguments of a callable; `open` if it takes others too (`**kwargs`, or an unknown signature)."""

    arguments: Mapping[str, Argument]
    open: bool = False


def signature_of(target: Callable[..., Any]) -> Signature:
    """Read the signature of a class, a function or a partial; annotations that cannot be resolved become Any."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (ValueError, TypeError, NameError):  # NameError: Python 3.14 evaluates annotations when they are asked for
        return Signature({}, open=True)
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    arguments = {
        parameter.name: Argument(parameter.name, _resolved(parameter, target), parameter.default)
        for parameter in parameters
        if parameter.kind in kinds
    }
    return Signature(arguments, any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters))


def _resolved(parameter: inspect.Parameter, target: Any) -> Any:
    annotation = parameter.annotation
    if annotation is NOTHING:
        return Any
    try:
        return type_hint(parameter, target)
    except Exception:
        # A name that only a type checker imports, or an annotation that is no type: then the value passes unchecked.
        return annotation if not isinstance(annotation, str) else Any


def type_hint(parameter: inspect.Parameter, target: Any) -> Any:
    """The annotation of a parameter of `target`, resolved; its evaluation may raise anything."""
    holder = types.SimpleNamespace(__annotations__={"it": parameter.annotation})
    return typing.get_type_hints(holder, _globals(target, parameter.name), include_extras=True)["it"]


def _globals(target: Any, argument: str) -> dict[str, Any]:
    """The names that a text annotation of `argument` may use."""
    while isinstance(target, functools.partial):
        target = target.func
    if isinstance(target, type):
        if is_dataclass(target):  # a field is resolved where it is written, which may be a base class
            owners = (base for base in target.__mro__ if argument in inspect.get_annotations(base))
            return vars(sys.modules[next(owners, target).__module__])
        init, new = inspect.getattr_static(target, "__init__"), inspect.getattr_static(target, "__new__")
        target = init if init is not inspect.getattr_static(object, "__init__") else getattr(new, "__func__", new)
    elif not hasattr(target, "__globals__") and not hasattr(target, "__func__"):
        target = type(target).__call__
    return getattr(inspect.unwrap(target), "__globals__", {})


def unwrapped(annotation: Any) -> Any:
    """The annotation below its aliases (`type X = ...`, NewType) and its `Annotated` remarks."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        elif annotation is None:
            return type(None)
        else:
            return annotation


def name_of(target: Any) -> str:
    """Name of a callable in a message."""
    while isinstance(target, functools.partial):
        target = target.func
    return getattr(target, "__name__", type(target).__name__)


_WORDS: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
    tuple: "a list",
    list: "a list",
    set: "a list",
    frozenset: "a list",
    dict: "a mapping",
}


def describe(annotation: Any) -> str:
    """Description of an annotation in a message."""
    plain = unwrapped(annotation)
    origin, arguments = typing.get_origin(plain), typing.get_args(plain)
    if plain in _WORDS:
        return _WORDS[plain]
    if origin is typing.Literal:
        return ("one of " if len(arguments) > 1 else "") + ", ".join(repr(choice) for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(member) for member in arguments))
    if origin is tuple and arguments[-1:] != (Ellipsis,):
        return f"a list of {len(arguments)}"
    if isinstance(origin, type):
        if issubclass(origin, Mapping):
            return "a mapping"
        if origin in _WORDS or issubclass(origin, typing.Collection):
            return f"a list, each {describe(arguments[0])}" if arguments else "a list"
        return describe(arguments[0]) if arguments and origin.__name__ == "Factory" else origin.__name__
    name = name_of(plain) if isinstance(plain, type) else str(plain)
    return f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}"


def format_value(value: Any) -> str:
    """A value of a recipe as a message quotes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return ("text " if isinstance(value, str) else "") + (text if len(text) <= 80 else f"{text[:77]}...")
