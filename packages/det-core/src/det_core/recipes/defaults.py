"""A node without a `type` changes the default of its argument, as `--set` does."""

import types
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin

from det_core.recipes.construct import class_of
from det_core.recipes.nodes import Factory, NoDataError, data_of
from det_core.recipes.signatures import Argument, unwrapped

__all__ = ["called", "default_data", "over_default"]


def called(annotation: Any) -> Any:
    """The type of a node with this annotation: T of Factory[T] and of T | None."""
    plain = unwrapped(annotation)
    members = [member for member in get_args(plain) if member is not types.NoneType]
    if get_origin(plain) in (typing.Union, types.UnionType):
        return called(members[0]) if len(members) == 1 else Any
    return called(members[0]) if get_origin(plain) is Factory else annotation


def over_default(node: Any, argument: Argument) -> Any:
    """A node laid over the default of its argument, where that is a part and the node has no `type` of its own.

    Args:
        node: plain data of a recipe.
        argument: the argument that the node is for.
    """
    default = argument.default
    is_part = isinstance(default, Factory) or (is_dataclass(default) and not isinstance(default, type))
    if not is_part or not isinstance(node, Mapping) or "type" in node:
        return node
    try:
        return {**default_data(argument), **node}
    except NoDataError:
        return node


def default_data(argument: Argument, calls: bool = False) -> Any:
    """The default of an argument as plain data, without the `type` that its annotation implies; see `data_of`.

    Raises:
        NoDataError: it has no spelling.
    """
    default, data = argument.default, data_of(argument.default, calls)
    target = default.target if isinstance(default, Factory) else type(default)
    if isinstance(data, dict) and class_of(called(argument.annotation)) is target:
        return {key: value for key, value in data.items() if key != "type"}
    return data
