"""A component that is judged, and how one of it is made."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from det_core import recipes
from det_core.errors import DetError
from det_core.plugins import registry
from det_core.recipes import Factory
from det_core.recipes import check as config
from det_core.recipes.signatures import signature_of
from det_core.structures import Prediction, Sample, Targets

from det_devkit.conformance.report import Failed
from det_devkit.conformance.roles import Role
from det_devkit.conformance.spec import Example
from det_devkit.conformance.standins import stand_in

__all__ = ["Subject"]


@dataclass(eq=False)
class Subject:
    """One component of a plugin.

    Attributes:
        kind: "backbones" ...
        name: its short name.
        load: imports it.
        role_of: its role, by what `load` gives and its arguments, as told to the kit.
        plugin: the distribution that offers it; "" where none does.
        example: its arguments, as told to the kit.
        truth: what its pictures' targets need beside boxes, labels, masks and keypoints.
        perfect: what a perfect prediction of a sample holds beside what the kit knows.
        siblings: the components of the same plugin.
    """

    kind: str
    name: str
    load: Callable[[], Any]
    role_of: Callable[[Callable[..., Any], Mapping[str, Any]], Role]
    plugin: str = ""
    example: Example | None = None
    truth: Callable[[Targets], Targets] | None = None
    perfect: Callable[[Prediction, Sample], Prediction] | None = None
    siblings: list["Subject"] = field(default_factory=list)
    _folders: list[Any] = field(default_factory=list)

    @cached_property
    def target(self) -> Callable[..., Any]:
        """The class or function itself."""
        target: Callable[..., Any] = self.load()
        return target

    @cached_property
    def role(self) -> Role:
        """How a component of this kind is used, and what parents give it."""
        return self.role_of(self.target, self._told())

    def make(self, seed: int = 0, given: Mapping[str, Any] | None = None) -> Any:
        """A new one, its initial values drawn from `seed`; `given` in place of what parents give.

        Raises:
            Failed: an argument is needed that nobody knows.
            DetError: the arguments do not fit, or the constructor raises.
        """
        torch.manual_seed(seed)
        return Factory(self.target)(**self._arguments(self.role.parents() if given is None else given))

    def _arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        signature = signature_of(self.target)
        given = {n: v for n, v in given.items() if signature.open or n in signature.arguments}
        own = self._told()
        needed = [a for a in signature.arguments.values() if a.required and a.name not in {**given, **own}]
        stand_ins = {a.name: stand_in(a.name, a.annotation) for a in needed}
        unknown = [name for name, value in stand_ins.items() if value is None]
        if unknown and self.example is None:
            own = next(self._in_recipes(), {})
            unknown = [name for name in unknown if name not in own]
        if unknown:
            arguments = ", ".join(f'"{name}": ...' for name in unknown)
            fix = f'say how to make one: examples={{"{self.kind}/{self.name}": {{{arguments}}}}}'
            raise Failed(f"nobody knows its argument{'s' * (len(unknown) > 1)} {' and '.join(unknown)}", fix)
        where = f"{self.kind}/{self.name}"
        built = {
            n: _built(v, signature.arguments[n].annotation, f"{where}.{n}")
            for n, v in own.items()
            if n in signature.arguments
        }
        strange = {n: v for n, v in own.items() if n not in signature.arguments}
        return {**given, **{n: make() for n, make in stand_ins.items() if make}, **built, **strange}

    def _told(self) -> Mapping[str, Any]:
        if callable(self.example):
            folder = tempfile.TemporaryDirectory(prefix="det-kit-")
            self._folders.append(folder)  # which lives as long as the subject
            self.example = self.example(Path(folder.name))
        return self.example or {}

    def _in_recipes(self) -> Iterator[Mapping[str, Any]]:
        """The arguments of every node of the plugin's recipes that spells this component."""
        for component in registry.components("recipes") if self.plugin else ():
            if component.distribution == self.plugin:
                try:
                    tree = recipes.load(component.qualified).tree
                except DetError:
                    continue  # told by the checks of the recipe
                for node in _nodes(tree):
                    if registry.same(node["type"], f"{self.plugin}/{self.name}"):
                        yield {key: value for key, value in node.items() if key != "type"}


def _built(value: Any, annotation: Any, path: str) -> Any:
    """What a recipe says, built; what Python says, as it is."""
    return config.check(value, annotation, path).build() if _is_data(value) else value


def _is_data(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_data, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_data, value))
    return value is None or isinstance(value, bool | int | float | str | Path)


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    below: Iterable[Any] = ()
    if isinstance(tree, Mapping):
        if isinstance(tree.get("type"), str):
            yield tree
        below = tree.values()
    elif isinstance(tree, list):
        below = tree
    for value in below:
        yield from _nodes(value)
