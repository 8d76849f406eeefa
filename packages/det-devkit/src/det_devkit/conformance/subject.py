"""A component under test, and its construction."""

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

from det_devkit.conformance.placeholders import placeholder
from det_devkit.conformance.report import Failed
from det_devkit.conformance.roles import Role
from det_devkit.conformance.spec import Example

__all__ = ["Subject"]


@dataclass(eq=False)
class Subject:
    """One component of a plugin.

    Attributes:
        kind: plural of the component's kind, such as "backbones".
        name: short name of the component.
        load: function that imports the component.
        make_role: function from the loaded component and its configured arguments to its role.
        plugin: distribution of the component; "" for none.
        example: configured arguments, or a function of a folder.
        annotate: adds targets beside boxes, labels, masks and keypoints.
        perfect: adds to a perfect prediction of a sample.
        siblings: components of the same plugin.
    """

    kind: str
    name: str
    load: Callable[[], Any]
    make_role: Callable[[Callable[..., Any], Mapping[str, Any]], Role]
    plugin: str = ""
    example: Example | None = None
    annotate: Callable[[Targets], Targets] | None = None
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
        """The use of the component, and its arguments from parents."""
        return self.make_role(self.target, self._configured())

    def make(self, seed: int = 0, parent_arguments: Mapping[str, Any] | None = None) -> Any:
        """Build it, with initial values drawn from `seed`; `parent_arguments` replaces the arguments from parents.

        Raises:
            Failed: a required argument is unknown.
            DetError: the arguments do not fit, or the constructor raises.
        """
        torch.manual_seed(seed)
        return Factory(self.target)(
            **self._arguments(self.role.parents() if parent_arguments is None else parent_arguments)
        )

    def _arguments(self, parent_arguments: Mapping[str, Any]) -> dict[str, Any]:
        signature = signature_of(self.target)
        parent_arguments = {n: v for n, v in parent_arguments.items() if signature.open or n in signature.arguments}
        configured = self._configured()
        needed = [
            a for a in signature.arguments.values() if a.required and a.name not in {**parent_arguments, **configured}
        ]
        placeholders = {a.name: placeholder(a.name, a.annotation) for a in needed}
        unknown = [name for name, value in placeholders.items() if value is None]
        if unknown and self.example is None:
            configured = next(self._in_recipes(), {})
            unknown = [name for name in unknown if name not in configured]
        if unknown:
            arguments = ", ".join(f'"{name}": ...' for name in unknown)
            fix = f'give arguments: examples={{"{self.kind}/{self.name}": {{{arguments}}}}}'
            raise Failed(f"the value of its argument{'s' * (len(unknown) > 1)} {' and '.join(unknown)} is unknown", fix)
        where = f"{self.kind}/{self.name}"
        built = {
            n: _built(v, signature.arguments[n].annotation, f"{where}.{n}")
            for n, v in configured.items()
            if n in signature.arguments
        }
        strange = {n: v for n, v in configured.items() if n not in signature.arguments}
        return {**parent_arguments, **{n: make() for n, make in placeholders.items() if make}, **built, **strange}

    def _configured(self) -> Mapping[str, Any]:
        if callable(self.example):
            folder = tempfile.TemporaryDirectory(prefix="det-kit-")
            self._folders.append(folder)  # it lives as long as the subject
            self.example = self.example(Path(folder.name))
        return self.example or {}

    def _in_recipes(self) -> Iterator[Mapping[str, Any]]:
        """The arguments of every node of the plugin's recipes with this component."""
        for component in registry.components("recipes") if self.plugin else ():
            if component.distribution == self.plugin:
                try:
                    tree = recipes.load(component.qualified).tree
                except DetError:
                    continue  # reported by the checks of the recipe
                for node in _nodes(tree):
                    if registry.same(node["type"], f"{self.plugin}/{self.name}"):
                        yield {key: value for key, value in node.items() if key != "type"}


def _built(value: Any, annotation: Any, path: str) -> Any:
    """Data of a recipe, built; Python objects unchanged."""
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
