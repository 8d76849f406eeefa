"""The leaves of a recipe: numbers, text, choices, places; checked strictly, with pydantic where it knows the type.

A whole number widens to a number; true and false are never numbers, and text is neither.
"""

import difflib
import enum
import os
import re
import typing
from numbers import Number
from pathlib import Path
from typing import Any, NewType

from det_core.errors import ConfigError
from det_core.recipes.signatures import describe, format_value, unwrapped

__all__ = ["DATA_FOLDER", "Source", "is_location", "leaf", "location", "type_mismatch"]

DATA_FOLDER = "DET_DATA"

Source = NewType("Source", str)
"""A local path or a URL. A relative path starts at the folder in DET_DATA, or at the current one."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def type_mismatch(node: Any, annotation: Any, path: str, fix: str = "") -> ConfigError:
    """The error of a value that does not fit the annotation."""
    return ConfigError(path, f"must be {describe(annotation)}", f"got {format_value(node)}", fix)


def is_location(annotation: Any) -> bool:
    """Whether values are places: pathlib.Path, Source, or either of them or null."""
    if annotation is Source or unwrapped(annotation) is Path:
        return True
    return any(is_location(member) for member in typing.get_args(annotation) if member is not type(None))


def location(node: Any, annotation: Any, path: str) -> Path | str:
    """An absolute path, or a URL as it is."""
    if not isinstance(node, str | Path) or not str(node):
        problem = "must be a path or a URL" if annotation is Source else "must be a path"
        raise ConfigError(path, problem, f"got {format_value(node)}")
    if annotation is Source and _URL.match(str(node)):
        return str(node)
    root = os.environ.get(DATA_FOLDER, "")
    try:
        place = Path(root, Path(node).expanduser()).absolute()
        if root and not Path(root).is_dir() and not Path(node).expanduser().is_absolute():
            raise ConfigError(path, f"starts at {DATA_FOLDER}, which is no folder", f"{DATA_FOLDER} is {root!r}")
    except RuntimeError as error:  # "~user" with an unknown home
        raise ConfigError(path, "is not a path", f"got {format_value(node)}", str(error)) from error
    return str(place) if annotation is Source else place


def leaf(node: Any, annotation: Any, path: str) -> Any:
    """The value of a leaf."""
    plain = unwrapped(annotation)
    if typing.get_origin(plain) is typing.Literal:
        return _choice(node, plain, path)
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        return _member(node, plain, path)
    if isinstance(plain, type) and issubclass(plain, Number) and plain.__module__ == "numbers":
        annotation = int | float
    from pydantic import PydanticUserError, TypeAdapter, ValidationError
    from pydantic_core import PydanticCustomError

    try:
        return TypeAdapter(annotation).validate_python(node, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        if first["type"].endswith(("_type", "_parsing", "is_instance_of")) or isinstance(node, bool):
            patterns = {int: r"[-+]?\d+", float: r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", bool: "true|false"}
            quoted = isinstance(node, str) and plain in patterns and re.fullmatch(patterns[plain], node, re.IGNORECASE)
            raise type_mismatch(node, annotation, path, "write it without quotes" if quoted else "") from None
        problem = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
        raise ConfigError(path, problem[:1].lower() + problem[1:], f"got {format_value(node)}") from None
    except (PydanticUserError, PydanticCustomError):
        raise type_mismatch(node, annotation, path) from None


def _choice(node: Any, annotation: Any, path: str) -> Any:
    choices = typing.get_args(annotation)
    for choice in choices:
        if type(choice) is type(node) and choice == node:
            return choice
    near = difflib.get_close_matches(str(node), [str(choice) for choice in choices], 1)
    raise type_mismatch(node, annotation, path, f"did you mean {near[0]!r}?" if near and isinstance(node, str) else "")


def _member(node: Any, annotation: type[enum.Enum], path: str) -> enum.Enum:
    """A member of an enumeration, by its value."""
    for member in annotation:
        if type(member.value) is type(node) and member.value == node:
            return member
    choices = ", ".join(repr(member.value) for member in annotation)
    raise ConfigError(path, f"must be one of {choices}", f"got {format_value(node)}")
