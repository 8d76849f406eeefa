"""Components and their arguments, from signatures and docstrings: for a terminal, and for pages of a reference."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from det_core.plugins import catalog, registry
from det_core.plugins.registry import Component
from det_core.recipes import Factory
from det_core.recipes.defaults import default_data
from det_core.recipes.nodes import NoDataError
from det_core.recipes.signatures import NOTHING, Argument, signature_of, unwrapped

__all__ = ["Description", "Parameter", "describe", "find", "parts"]

_ENTRY = re.compile(r"(?P<name>\*{0,2}\w+(, \w+)*)(?: \([^)]*\))?: (?P<about>.*)")
_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Example|Examples|Note):$")
_MOST = 100  # characters of a default


@dataclass(frozen=True)
class Parameter:
    """One argument of a component.

    Attributes:
        name: the key in a recipe.
        type: the annotation, without the names of modules.
        default: default as YAML; "" if there is none.
        about: the entry of the docstring, in one line; "" if there is none.
    """

    name: str
    type: str
    default: str
    about: str


@dataclass(frozen=True)
class Description:
    """A component with its arguments.

    Attributes:
        name: the qualified name, or the import path.
        target: import path, "module:attribute".
        about: the docstring up to its sections.
        parameters: parameters in the order of the signature.
        open: whether there may be further arguments, which the signature does not name.
    """

    name: str
    target: str
    about: str
    parameters: tuple[Parameter, ...]
    open: bool

    def markdown(self, level: int = 2) -> str:
        """A section of a page, with a heading of this level."""
        text = f"{'#' * level} {self.name}\n\n`{self.target}`\n\n{self.about}\n"
        if not self.parameters:
            return f"{text}\n{'Its arguments have no list.' if self.open else 'No arguments.'}\n"
        rows = [
            f"| `{each.name}` | {_code(each.type)} | {_code(each.default) if each.default else 'required'} "
            f"| {each.about.replace('|', chr(92) + '|')} |"
            for each in self.parameters
        ]
        return "\n".join([text, "| argument | type | default | |", "| --- | --- | --- | --- |", *rows, ""])


def _code(text: str) -> str:
    return f"`{text}`".replace("|", r"\|")


def find(name: str) -> list[Component]:
    """The components of a short name, a qualified name or an import path: one of each kind and package that has it.

    Raises:
        UnknownNameError: there is no such component.
    """
    return registry.matches(registry.components(), name) or [registry.find(None, name)]


def parts(distribution: str) -> list[Component]:
    """The parts of a package that have no short name and that any recipe may build; not those of other libraries."""
    prefix = f"{distribution.replace('-', '_')}."
    paths = [path for plugin in catalog().plugins if plugin.distribution == distribution for path in plugin.safe_parts]
    return [registry.find(None, path) for path in sorted(paths) if path.startswith(prefix)]


def describe(component: Component) -> Description:
    """Read the signature and the docstring of a component, which imports it.

    Raises:
        PluginError, UnknownNameError: it cannot be imported.
    """
    target = component.load()
    signature = signature_of(target)
    about, entries = _docstring(target)
    parameters = tuple(
        Parameter(argument.name, _type(argument.annotation), _default(argument), entries.get(argument.name, ""))
        for argument in signature.arguments.values()
    )
    return Description(component.qualified, component.target, about, parameters, signature.open)


def _docstring(target: Callable[..., Any]) -> tuple[str, Mapping[str, str]]:
    """The text before the sections, and the entries of `Args`, by name; those of the constructor go first."""
    documented = [target, target.__init__] if inspect.isclass(target) else [target]
    texts = [inspect.cleandoc(each.__doc__ or "") for each in documented if isinstance(each.__doc__, str)]
    entries: dict[str, str] = {}
    for text in texts:
        entries |= _entries(text)
    lines = texts[0].splitlines() if texts else []
    end = next((number for number, line in enumerate(lines) if _SECTION.match(line)), len(lines))
    return "\n".join(lines[:end]).strip(), entries


def _entries(text: str) -> dict[str, str]:
    entries: dict[str, list[str]] = {}
    inside, names = False, [""]
    for line in text.splitlines():
        if line and not line.startswith(" "):
            inside = line in ("Args:", "Attributes:")
        elif inside and (match := _ENTRY.fullmatch(line.strip())) and len(line) - len(line.lstrip()) == 4:
            names = match["name"].split(", ")
            entries |= {name: [match["about"]] for name in names}
        elif inside and line.strip():
            for name in names:
                entries.setdefault(name, []).append(line.strip())
    return {name: " ".join(lines) for name, lines in entries.items() if name}


def _type(annotation: Any) -> str:
    """An annotation as it is read: `Sequence[int] | None`; a node for another component is its contract."""
    plain = unwrapped(annotation)
    origin, members = typing.get_origin(plain), typing.get_args(plain)
    if plain in (Any, NOTHING):
        return "any"
    if plain is type(None):
        return "null"
    if plain is Ellipsis:
        return "..."
    if origin is typing.Literal:
        return " | ".join(_yaml(member) for member in members)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys(_type(member) for member in members))
    if origin is Factory:
        return _type(members[0])
    name = getattr(origin or plain, "__name__", str(plain))
    if origin is not None and isinstance(members, tuple) and members and name != "Callable":
        return f"{name}[{', '.join(_type(member) for member in members)}]"
    return name


def _default(argument: Argument) -> str:
    if argument.required:
        return ""
    try:
        text = _yaml(default_data(argument))
    except NoDataError:
        text = repr(argument.default)
    return text if len(text) <= _MOST else f"{text[: _MOST - 3]}..."


def _yaml(data: Any) -> str:
    text: str = yaml.safe_dump(data, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...").strip()
