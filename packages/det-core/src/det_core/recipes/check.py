"""Checks a recipe's node against the constructor that it spells.

`check` compares a node, which is plain data, with an annotation, down to the leaves; it imports what the node names and
builds nothing. The `Plan` that it returns builds. A parameter annotated `Factory[T]` receives its node unbuilt, its
arguments already checked, and calls it with what only the parent knows.
"""

import collections.abc as abc
import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from numbers import Number
from pathlib import Path
from typing import Any, get_args, get_origin

from det_core.errors import ConfigError, DetError
from det_core.plugins import registry
from det_core.recipes.construct import class_of, is_contract, kind_of, require_methods
from det_core.recipes.defaults import default_data, over_default
from det_core.recipes.nodes import Call, Entries, Factory, Items, NoDataError, Plan, Value, known, require_all
from det_core.recipes.signatures import Argument, Signature, describe, shown, signature_of, unwrapped
from det_core.recipes.values import Source, is_location, leaf, location, misfit

__all__ = ["Factory", "Plan", "Source", "arguments_of", "check"]

_LEAVES = (int, float, complex, str, bytes, types.NoneType, enum.Enum, Number)
_SCALARS = (types.NoneType, bool, int, float, str)


def check(node: Any, annotation: Any = Any, path: str = "node") -> Plan:
    """Compare a node with the annotation of the parameter that it is meant for.

    Args:
        node: plain data: None, bool, int, float, text, lists, mappings; a mapping with a `type` spells a call.
        annotation: a type as it stands in a signature; a class is called with the node's entries if it has no `type`.
        path: the node's place in the recipe, "model.backbone", which messages start with.

    Raises:
        ConfigError: the node does not fit.
        UnknownNameError: nothing has the name that a `type` gives, or several things do.
        PluginError: what a `type` names cannot be imported.
    """
    if annotation is Source or unwrapped(annotation) is Path:
        place = location(node, annotation, path)
        return Value(place, str(place))
    plain = unwrapped(annotation)
    origin, arguments = get_origin(plain) or plain, get_args(plain)
    if origin in (typing.Union, types.UnionType):
        return _union(node, annotation, arguments, path)
    if origin is Factory:
        return _call(node, arguments[0] if arguments else Any, path, unbuilt=True)
    if origin in (abc.Callable, type):
        return _reference(node, path)
    if origin is typing.Literal or (isinstance(origin, type) and issubclass(origin, _LEAVES)):
        return _leaf(node, annotation, path)
    if not isinstance(origin, type) or origin in (Any, object):
        return _free(node, path)
    if issubclass(origin, abc.Mapping):
        return _mapping(node, annotation, arguments or (Any, Any), path)
    if issubclass(origin, abc.Iterable) and origin.__module__ in ("builtins", "collections.abc"):
        return _list(node, annotation, origin, arguments, path)
    if isinstance(node, Mapping) or is_contract(origin):
        return _call(node, annotation, path)
    return _leaf(node, annotation, path)


def _leaf(node: Any, annotation: Any, path: str) -> Plan:
    value = leaf(node, annotation, path)
    return Value(value, value if type(value) in _SCALARS else node)


def _free(node: Any, path: str) -> Plan:
    """Anything goes; but what spells a call is called."""
    if isinstance(node, Mapping):
        if isinstance(node.get("type"), str):
            return _call(node, Any, path)
        return Entries({key: _free(value, f"{path}.{key}") for key, value in node.items()}, {key: key for key in node})
    if isinstance(node, list | tuple):
        return Items(tuple(_free(value, f"{path}.{index}") for index, value in enumerate(node)), list)
    return Value(node, node)


def _union(node: Any, annotation: Any, members: tuple[Any, ...], path: str) -> Plan:
    if node is None and types.NoneType in members:
        return Value(None, None)
    members = tuple(member for member in members if member is not types.NoneType)
    if len(members) == 1:
        return check(node, members[0], path)
    errors = []
    for member in sorted(members, key=lambda member: member is not type(node)):  # 3 is an int before it is a float
        try:
            return check(node, member, path)
        except DetError as error:
            errors.append(error)
    furthest = max(errors, key=lambda error: len(error.where))
    raise furthest if len(furthest.where) > len(path) else misfit(node, annotation, path)


def _mapping(node: Any, annotation: Any, arguments: tuple[Any, ...], path: str) -> Plan:
    if not isinstance(node, Mapping):
        raise misfit(node, annotation, path)
    keys, values = arguments
    parts = {key: check(value, values, f"{path}.{key}") for key, value in node.items()}
    return Entries(parts, {key: check(key, keys, path).build() for key in node})


def _list(node: Any, annotation: Any, origin: type, arguments: tuple[Any, ...], path: str) -> Plan:
    if not isinstance(node, list | tuple):
        raise misfit(node, annotation, path)
    annotations = [arguments[0] if arguments else Any] * len(node)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(arguments) != len(node):
            raise misfit(node, annotation, path)
        annotations = list(arguments)
    parts = (check(value, each, f"{path}.{n}") for n, (value, each) in enumerate(zip(node, annotations, strict=True)))
    kinds: dict[Any, Any] = {list: list, abc.MutableSequence: list, set: set, abc.Set: frozenset, frozenset: frozenset}
    return Items(tuple(parts), kinds.get(origin, tuple))


def _reference(node: Any, path: str) -> Plan:
    """A callable that is meant itself, "torch.nn:ReLU"; a node is called, and what it returns is meant."""
    if isinstance(node, Mapping):
        return _call(node, Callable, path)
    if not isinstance(node, str) or not registry.is_import_path(node):
        raise ConfigError(path, "must name a callable", f"got {shown(node)}", "one reads 'package.module:attribute'")
    target = registry.import_target(node, path)
    if not callable(target):
        raise ConfigError(path, "must name a callable", f"{node!r} is {shown(target)}")
    return Value(target, node)


def _call(node: Any, expected: Any, path: str, unbuilt: bool = False) -> Call:
    """The call that a node spells; `unbuilt` where the parent makes it, with arguments of its own."""
    if not isinstance(node, Mapping):
        fix = "write {type: NAME, argument: value, ...}"
        raise ConfigError(path, f"must be {describe(expected)}", f"got {shown(node)}", fix)
    target, spelled = _target(node, expected, path)
    require_methods(target, expected, path)
    signature = signature_of(target)
    arguments: dict[str, Plan] = {}
    for name, value in node.items():
        if name != "type":
            argument = known(name, signature, target, path)
            absent = value is None and argument.default is None  # `x: int = None`
            value = over_default(value, argument)
            arguments[name] = Value(None, None) if absent else check(value, argument.annotation, f"{path}.{name}")
    defaults = _defaults(signature, set(arguments), path)
    for name, plan in defaults.items():
        if is_location(signature.arguments[name].annotation):  # what is built is what the resolved recipe says
            arguments[name] = plan
    if not unbuilt:
        require_all(arguments, signature, target, path)
    return Call(target, spelled, arguments, defaults, path, expected, unbuilt)


def _target(node: Mapping[str, Any], expected: Any, path: str) -> tuple[Callable[..., Any], str]:
    """What a node calls, and how its `type` is spelled in full: "" where it has none and the annotation is a class."""
    kind, name = kind_of(expected), node.get("type")
    if "type" not in node:
        implied = class_of(expected)
        if implied and not inspect.isabstract(implied):
            return implied, ""
        offered = sorted({component.name for component in registry.components(kind)}) if kind else []
        some = ", ".join(offered[:6]) + (", ..." if len(offered) > 6 else "")
        raise ConfigError(path, "must say its `type`", fix=f"there is {some}" if some else "")
    if not isinstance(name, str):
        raise ConfigError(f"{path}.type", "must be a name", f"got {shown(name)}")
    component = registry.find(kind, name, f"{path}.type")
    return component.load(f"{path}.type"), component.qualified


def _defaults(signature: Signature, given: set[str], path: str) -> dict[str, Plan]:
    """The defaults of what is not given, as far as a recipe can spell them."""
    plans = {
        name: _default(argument, f"{path}.{name}")
        for name, argument in signature.arguments.items()
        if name not in given and not argument.required
    }
    return {name: plan for name, plan in plans.items() if plan is not None}


def _default(argument: Argument, path: str) -> Plan | None:
    """A default as a plan; None where its spelling would not be read as the same value."""
    if argument.default is None:
        return Value(None, None)
    try:
        plan = check(default_data(argument, _takes_factories(argument.annotation)), argument.annotation, path)
        if is_location(argument.annotation) or _calls(plan):
            return plan
        return plan if bool(plan.build() == argument.default) else None
    except (NoDataError, DetError, ValueError, RuntimeError, TypeError):
        return None  # `==` of foreign values may raise what it likes


def _calls(plan: Plan) -> bool:
    """Whether something would be built, which is nothing to try out."""
    if isinstance(plan, Items):
        return any(map(_calls, plan.parts))
    return any(map(_calls, plan.parts.values())) if isinstance(plan, Entries) else isinstance(plan, Call)


def _takes_factories(annotation: Any) -> bool:
    plain = unwrapped(annotation)
    return get_origin(plain) is Factory or any(map(_takes_factories, get_args(plain)))


def arguments_of(node: Mapping[str, Any], annotation: Any, path: str) -> tuple[Callable[..., Any], Signature]:
    """What a node calls, and the arguments that it could be given."""
    target, _ = _target(node, annotation, path)
    return target, signature_of(target)
