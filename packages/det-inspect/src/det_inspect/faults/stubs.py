"""Callables and annotations of the same names and signatures as those in source files, without their code."""

import ast
import builtins
import importlib
import inspect
import typing
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from det_core.recipes import Factory

from det_inspect.faults.source import Definition, Module, definition, dotted

__all__ = ["UNKNOWN", "anything", "stub_of"]

# Modules whose contents are the real ones: they are imported without torch.
_LIGHT = (
    *("abc", "builtins", "collections", "collections.abc", "numbers", "pathlib", "types", "typing"),
    *("det_core.recipes", "det_core.recipes.nodes", "det_core.recipes.check", "det_core.recipes.values"),
)
_SCALARS = (int, float, bool, str, bytes, complex, object, list, tuple, dict, set, frozenset, type)
_PLAIN_BASES = ("object", "Protocol", "Generic", "ABC", "TensorBase")


class _Unknown:
    """Stands for a default that cannot be read from the source."""


UNKNOWN = _Unknown()


def anything(**arguments: Any) -> Any:
    """Stands for a callable whose signature cannot be read: it takes any arguments."""


class _Stub(type):
    """The class of stubs; a signature is read when it is asked for, as classes name each other."""

    @property
    def __signature__(cls) -> inspect.Signature:
        return _signature(cls._definition)  # type: ignore[attr-defined]


@cache
def stub_of(path: str) -> Any:
    """A class or function with the signature of what an import path names; `anything` where that is not known."""
    module, _, name = path.partition(":")
    source = definition(module, name)
    if source is not None and isinstance(source.node, ast.ClassDef):
        return _class(source.path) or anything
    if source is not None and isinstance(source.node, ast.FunctionDef) and not source.node.decorator_list:

        def stub() -> None: ...

        stub.__name__, stub.__qualname__, stub.__module__ = name, name, source.module.name
        stub.__signature__ = _signature(source)  # type: ignore[attr-defined]
        return stub
    return anything


@cache
def _class(path: str) -> Any:
    """A class of the name of another; None where a node of a recipe could be an instance of that one itself."""
    module, _, name = path.partition(":")
    source = definition(module, name)
    if source is None or not isinstance(source.node, ast.ClassDef):
        return None
    bases = _bases(source.node)
    if not all(_is_plain(base, source.module) for base in bases):
        return None
    protocol = any(isinstance(base, ast.Name) and base.id == "Protocol" for base in bases)
    contents = {"__module__": source.module.name, "__qualname__": name, "_definition": source, "_is_protocol": protocol}
    return _Stub(name, (), contents)


def _bases(node: ast.ClassDef) -> list[ast.expr]:
    return [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]


def _is_plain(base: ast.expr, module: Module) -> bool:
    """Whether a base class is one of objects alone: no number, text, list, mapping or enumeration."""
    if ast.unparse(base).rpartition(".")[2] in _PLAIN_BASES:
        return True
    path = dotted(base, module)
    return bool(path) and _class(path) is not None


def _signature(source: Definition) -> inspect.Signature:
    """The signature of a definition; one that takes anything where it cannot be read."""
    parameters = None
    try:
        if isinstance(source.node, ast.FunctionDef):
            parameters = list(_parameters(source.node.args, source.module))
        elif isinstance(source.node, ast.ClassDef):
            parameters = _of_class(source.node, source.module)
    except RecursionError:  # an alias that names itself
        pass
    if parameters is None:
        return inspect.signature(anything)
    unique = {parameter.name: parameter for parameter in parameters}
    return inspect.Signature(sorted(unique.values(), key=lambda each: each.kind))


def _of_class(node: ast.ClassDef, module: Module) -> list[inspect.Parameter] | None:
    """The parameters of a constructor; None where they are not known."""
    if node.keywords and any(ast.unparse(each.value) != "ABCMeta" for each in node.keywords):
        return None
    methods = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
    decorators = [ast.unparse(each).partition("(")[0].rpartition(".")[2] for each in node.decorator_list]
    if set(decorators) - {"dataclass", "final", "runtime_checkable"} or "__new__" in methods:
        return None
    if "__init__" in methods:
        return None if methods["__init__"].decorator_list else list(_parameters(methods["__init__"].args, module))[1:]
    parents = [base for base in _bases(node) if ast.unparse(base) not in ("object", "Protocol", "Generic", "ABC")]
    inherited: list[inspect.Parameter] | None = []
    if len(parents) > 1:
        return None
    for base in parents:
        holder, _, name = dotted(base, module).partition(":")
        parent = definition(holder, name)
        node_of = parent.node if parent is not None else None
        inherited = _of_class(node_of, parent.module) if parent and isinstance(node_of, ast.ClassDef) else None
    if "dataclass" not in decorators or inherited is None:
        return inherited
    return [*inherited, *_fields(node, module)]


def _fields(node: ast.ClassDef, module: Module) -> Iterator[inspect.Parameter]:
    """The parameters of a dataclass's methods fields; all by keyword, as recipes give them."""
    for each in node.body:
        if not isinstance(each, ast.AnnAssign) or not isinstance(each.target, ast.Name):
            continue
        if "ClassVar" in ast.unparse(each.annotation):
            continue
        default: Any = inspect.Parameter.empty if each.value is None else _value(each.value, module)
        if isinstance(each.value, ast.Call) and ast.unparse(each.value.func).rpartition(".")[2] == "field":
            options = {keyword.arg: keyword.value for keyword in each.value.keywords}
            if "init" in options and ast.unparse(options["init"]) == "False":
                continue
            default = UNKNOWN if {"default", "default_factory"} & options.keys() else inspect.Parameter.empty
        annotation = _annotation(each.annotation, module)
        yield inspect.Parameter(each.target.id, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameters(arguments: ast.arguments, module: Module) -> Iterator[inspect.Parameter]:
    """The parameters of a function. Those that may be given by position are keywords here, but the first."""
    positional = [*arguments.posonlyargs, *arguments.args]
    first: Sequence[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = [*zip(positional, [*first, *arguments.defaults], strict=True)]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    for argument, default in pairs:
        yield inspect.Parameter(
            argument.arg,
            inspect.Parameter.POSITIONAL_ONLY if argument in arguments.posonlyargs else inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is None else _value(default, module),
            annotation=Any if argument.annotation is None else _annotation(argument.annotation, module),
        )
    if arguments.kwarg is not None:
        yield inspect.Parameter(arguments.kwarg.arg, inspect.Parameter.VAR_KEYWORD)


def _value(expression: ast.expr, module: Module) -> Any:
    """A default: a literal, or a factory of known parts; UNKNOWN for anything else."""
    try:
        return ast.literal_eval(expression)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    if isinstance(expression, ast.Call) and dotted(expression.func, module).endswith(":Factory") and expression.args:
        target = stub_of(dotted(expression.args[0], module))
        arguments = {each.arg: _value(each.value, module) for each in expression.keywords if each.arg}
        if target is not anything and not any(value is UNKNOWN for value in arguments.values()):
            return Factory(target, **arguments)
    holder, _, name = dotted(expression, module).partition(":")
    constant = definition(holder, name)
    if constant is not None and isinstance(constant.node, ast.expr):
        return _value(constant.node, constant.module)
    return UNKNOWN


def _annotation(expression: ast.expr, module: Module) -> Any:
    """An annotation as typing has it, with stubs for classes that are not light; Any where it is not known."""
    if isinstance(expression, ast.Constant):
        if isinstance(expression.value, str):
            try:
                return _annotation(ast.parse(expression.value, mode="eval").body, module)
            except SyntaxError:
                return Any
        return expression.value if expression.value in (None, Ellipsis) else Any
    if isinstance(expression, ast.BinOp):
        return _union([_annotation(each, module) for each in (expression.left, expression.right)])
    if isinstance(expression, ast.Subscript):
        return _subscripted(expression, module)
    if isinstance(expression, ast.Name | ast.Attribute):
        return _named(expression, module)
    return Any


def _union(members: Sequence[Any]) -> Any:
    return Any if any(member is Any for member in members) else typing.Union[tuple(members)]  # noqa: UP007 (of values)


def _subscripted(expression: ast.Subscript, module: Module) -> Any:
    origin = _annotation(expression.value, module)
    inner = expression.slice.elts if isinstance(expression.slice, ast.Tuple) else [expression.slice]
    if origin is typing.Literal:
        return typing.Literal[tuple(ast.literal_eval(each) for each in inner)]
    if origin is Any or origin is typing.Annotated:
        return Any if origin is Any else _annotation(inner[0], module)
    if isinstance(origin, _Stub):
        return origin
    members = [_annotation(each, module) for each in inner]
    if origin is typing.Union:
        return _union(members)
    if origin is typing.Optional:
        return _union([*members, None])
    try:
        return origin[tuple(members)]
    except TypeError:
        return Any


def _named(expression: ast.Name | ast.Attribute, module: Module) -> Any:
    text = ast.unparse(expression)
    path = dotted(expression, module)
    holder, _, name = path.partition(":")
    if path and definition(holder, name) is None and isinstance(scalar := getattr(builtins, text, None), type):
        return scalar if scalar in _SCALARS else Any
    if holder in _LIGHT:
        return getattr(importlib.import_module(holder), name, Any)
    source = definition(holder, name) if path else None
    if source is None:
        return Any
    if source.module.name in _LIGHT:
        return getattr(importlib.import_module(source.module.name), source.name, Any)
    if isinstance(source.node, ast.ClassDef):
        return _class(source.path) or Any
    if isinstance(source.node, ast.Call):
        new_type = dotted(source.node.func, source.module) == "typing:NewType"
        return _annotation(source.node.args[1], source.module) if new_type else Any
    return Any if isinstance(source.node, ast.FunctionDef) else _annotation(source.node, source.module)
