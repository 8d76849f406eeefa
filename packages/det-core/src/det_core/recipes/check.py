"""Checks a recipe's node against the constructor that it calls.

`check` compares a node, which is plain data, with an annotation, down to the leaves; it imports what the node names and
builds nothing. The `Plan` that it returns builds. A parameter annotated `Factory[T]` receives its node unbuilt, its
arguments already checked, and calls it with further arguments of the parent.
"""

import collections.abc as abc
import enum
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Number
from pathlib import Path
from typing import Any, get_args, get_origin

from det_core.errors import ConfigError, DetError, UntrustedError
from det_core.plugins import registry
from det_core.recipes.allow_list import ANYTHING, DEFAULT, AllowList
from det_core.recipes.construct import class_of, is_contract, kind_of, require_methods
from det_core.recipes.defaults import default_data, over_default
from det_core.recipes.nodes import Call, Entries, Factory, Items, NoDataError, Plan, Value, lookup, require_all
from det_core.recipes.signatures import Argument, Signature, describe, format_value, signature_of, unwrapped
from det_core.recipes.values import Source, is_location, leaf, location, type_mismatch

__all__ = ["Checker", "Factory", "Plan", "Source", "arguments_of", "check"]

_LEAVES = (int, float, complex, str, bytes, types.NoneType, enum.Enum, Number)
_LISTS: Mapping[Any, Any] = {
    list: list,
    abc.MutableSequence: list,
    set: set,
    abc.Set: frozenset,
    frozenset: frozenset,
}
_SCALARS = (types.NoneType, bool, int, float, str)


def check(node: Any, annotation: Any = Any, path: str = "node", allow: AllowList = DEFAULT) -> Plan:
    """Compare a node with the annotation of the parameter that it is meant for.

    Args:
        node: plain data: None, bool, int, float, text, lists, mappings; a mapping with a `type` is a call.
        annotation: a type as it stands in a signature; a class is called with the node's entries if it has no `type`.
        path: the node's place in the recipe, "model.backbone", which messages start with.
        allow: allow list of the node.

    Raises:
        ConfigError: the node does not fit.
        UnknownNameError: nothing has the name that a `type` gives, or several things do.
        UntrustedError: it uses a name that is not in `allow`.
        PluginError: the target of a `type` cannot be imported.
    """
    return Checker(allow).check(node, annotation, path)


@dataclass(frozen=True)
class Checker:
    """Checks nodes of one recipe.

    Args:
        allow: allow list of the nodes.
    """

    allow: AllowList

    def check(self, node: Any, annotation: Any, path: str) -> Plan:
        """Compare a node with the annotation of its place."""
        if annotation is Source or unwrapped(annotation) is Path:
            place = location(node, annotation, path)
            return Value(place, str(place))
        plain = unwrapped(annotation)
        origin, arguments = get_origin(plain) or plain, get_args(plain)
        if origin in (typing.Union, types.UnionType):
            return self._union(node, annotation, arguments, path)
        if origin is Factory:
            return self._call(node, arguments[0] if arguments else Any, path, unbuilt=True)
        if origin in (abc.Callable, type):
            return self._reference(node, path)
        if origin is typing.Literal or (isinstance(origin, type) and issubclass(origin, _LEAVES)):
            return _leaf(node, annotation, path)
        if not isinstance(origin, type) or origin in (Any, object):
            return self._free(node, path)
        if issubclass(origin, abc.Mapping):
            return self._mapping(node, annotation, arguments or (Any, Any), path)
        if issubclass(origin, abc.Iterable) and origin.__module__ in ("builtins", "collections.abc"):
            return self._list(node, annotation, origin, arguments, path)
        if isinstance(node, Mapping) or is_contract(origin):
            return self._call(node, annotation, path)
        return _leaf(node, annotation, path)

    def _free(self, node: Any, path: str) -> Plan:
        """Any value; calls are made."""
        if isinstance(node, Mapping):
            if isinstance(node.get("type"), str):
                return self._call(node, Any, path)
            parts = {key: self._free(value, f"{path}.{key}") for key, value in node.items()}
            return Entries(parts, {key: key for key in node})
        if isinstance(node, list | tuple):
            return Items(tuple(self._free(value, f"{path}.{index}") for index, value in enumerate(node)), list)
        return Value(node, node)

    def _union(self, node: Any, annotation: Any, members: tuple[Any, ...], path: str) -> Plan:
        if node is None and types.NoneType in members:
            return Value(None, None)
        members = tuple(member for member in members if member is not types.NoneType)
        if len(members) == 1:
            return self.check(node, members[0], path)
        errors = []
        for member in sorted(members, key=lambda member: member is not type(node)):  # 3 is an int before it is a float
            try:
                return self.check(node, member, path)
            except DetError as error:
                errors.append(error)
        for each in errors:
            if isinstance(each, UntrustedError):
                raise each
        furthest = max(errors, key=lambda error: len(error.where))
        raise furthest if len(furthest.where) > len(path) else type_mismatch(node, annotation, path)

    def _mapping(self, node: Any, annotation: Any, arguments: tuple[Any, ...], path: str) -> Plan:
        if not isinstance(node, Mapping):
            raise type_mismatch(node, annotation, path)
        keys, values = arguments
        parts = {key: self.check(value, values, f"{path}.{key}") for key, value in node.items()}
        return Entries(parts, {key: self.check(key, keys, path).build() for key in node})

    def _list(self, node: Any, annotation: Any, origin: type, arguments: tuple[Any, ...], path: str) -> Plan:
        if not isinstance(node, list | tuple):
            raise type_mismatch(node, annotation, path)
        annotations = [arguments[0] if arguments else Any] * len(node)
        if origin is tuple and arguments and arguments[-1] is not Ellipsis:
            if len(arguments) != len(node):
                raise type_mismatch(node, annotation, path)
            annotations = list(arguments)
        numbered = enumerate(zip(node, annotations, strict=True))
        parts = (self.check(value, each, f"{path}.{number}") for number, (value, each) in numbered)
        return Items(tuple(parts), _LISTS.get(origin, tuple))

    def _reference(self, node: Any, path: str) -> Plan:
        """A callable itself, "torch.nn:ReLU", or the callable that the call of a node returns."""
        if isinstance(node, Mapping):
            return self._call(node, Callable, path)
        if not isinstance(node, str) or not registry.is_import_path(node):
            fix = "one reads 'package.module:attribute'"
            raise ConfigError(path, "must name a callable", f"got {format_value(node)}", fix)
        target = self.allow.reference(node, path)
        if not callable(target):
            raise ConfigError(path, "must name a callable", f"{node!r} is {format_value(target)}")
        return Value(target, node)

    def _call(self, node: Any, expected: Any, path: str, unbuilt: bool = False) -> Call:
        """The call of a node; `unbuilt` if the parent makes it, with further arguments."""
        if not isinstance(node, Mapping):
            fix = "write {type: NAME, argument: value, ...}"
            raise ConfigError(path, f"must be {describe(expected)}", f"got {format_value(node)}", fix)
        target, type_name = self.target(node, expected, path)
        require_methods(target, expected, path)
        signature = signature_of(target)
        arguments: dict[str, Plan] = {}
        for name, value in node.items():
            if name != "type":
                arguments[name] = self.argument(name, value, signature, target, path)
        defaults = self._defaults(signature, set(arguments), path)
        for name, plan in defaults.items():
            if is_location(signature.arguments[name].annotation):  # as in the resolved recipe
                arguments[name] = plan
        if not unbuilt:
            require_all(arguments, signature, target, path)
        return Call(target, type_name, arguments, defaults, path, expected, unbuilt)

    def argument(self, name: str, value: Any, signature: Signature, target: Any, path: str) -> Plan:
        """Compare what a node gives for an argument with the signature of what it calls."""
        argument = lookup(name, signature, target, path)
        _require_countable(name, value, path)
        if value is None and argument.default is None:  # `x: int = None`
            return Value(None, None)
        return self.check(over_default(value, argument), argument.annotation, f"{path}.{name}")

    def target(self, node: Mapping[str, Any], expected: Any, path: str) -> tuple[Callable[..., Any], str]:
        """The target of a node, and its qualified `type`: "" for none with a class as annotation."""
        kind, name = kind_of(expected), node.get("type")
        if "type" not in node:
            implied = class_of(expected)
            if implied and not inspect.isabstract(implied):
                self.allow.require(implied, path)
                return implied, ""
            offered = sorted({component.name for component in registry.components(kind)}) if kind else []
            some = ", ".join(offered[:6]) + (", ..." if len(offered) > 6 else "")
            raise ConfigError(path, "needs a `type`", fix=f"there is {some}" if some else "")
        if not isinstance(name, str):
            raise ConfigError(f"{path}.type", "must be a name", f"got {format_value(name)}")
        return self.allow.component(kind, name, f"{path}.type")

    def _defaults(self, signature: Signature, names: set[str], path: str) -> dict[str, Plan]:
        """The defaults of absent arguments, as far as a recipe can express them."""
        plans = {
            name: self._default(argument, f"{path}.{name}")
            for name, argument in signature.arguments.items()
            if name not in names and not argument.required
        }
        return {name: plan for name, plan in plans.items() if plan is not None}

    def _default(self, argument: Argument, path: str) -> Plan | None:
        """A default as a plan; None where its spelling would not be read as the same value."""
        if argument.default is None:
            return Value(None, None)
        try:
            node = default_data(argument, _takes_factories(argument.annotation))
            plan = Checker(ANYTHING).check(node, argument.annotation, path)
            if is_location(argument.annotation) or _calls(plan):
                return plan
            return plan if bool(plan.build() == argument.default) else None
        except (NoDataError, DetError, ValueError, RuntimeError, TypeError):
            return None  # `==` of foreign values may raise anything


def _leaf(node: Any, annotation: Any, path: str) -> Plan:
    value = leaf(node, annotation, path)
    return Value(value, value if type(value) in _SCALARS else node)


_COUNT = re.compile(r"num_|(.*_)?(depths?|blocks|layers|stages|levels|repeats|convs?)$")
_LARGEST_COUNT = 1_000_000


def _require_countable(name: str, value: Any, path: str) -> None:
    """Refuse a number of layers and the like that no memory could hold, before anything counts up to it."""
    if path.partition(".")[0] == "model" and _COUNT.match(name):
        for each in value if isinstance(value, list | tuple) else (value,):
            if type(each) is int and each > _LARGEST_COUNT:
                found = f"got {format_value(each)}"
                raise ConfigError(f"{path}.{name}", f"is more than {_LARGEST_COUNT}", found, "lower it")


def _calls(plan: Plan) -> bool:
    """Whether something would be built, which is nothing to try out."""
    if isinstance(plan, Items):
        return any(map(_calls, plan.parts))
    return any(map(_calls, plan.parts.values())) if isinstance(plan, Entries) else isinstance(plan, Call)


def _takes_factories(annotation: Any) -> bool:
    plain = unwrapped(annotation)
    return get_origin(plain) is Factory or any(map(_takes_factories, get_args(plain)))


def arguments_of(
    node: Mapping[str, Any], annotation: Any, path: str, allow: AllowList = DEFAULT
) -> tuple[Callable[..., Any], Signature]:
    """The target of a node, and its possible arguments."""
    target, _ = Checker(allow).target(node, annotation, path)
    return target, signature_of(target)
