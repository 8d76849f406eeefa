"""The faults of a recipe and of the files that it names, all of them, without torch."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from det_core import recipes
from det_core.cli.output import echo
from det_core.errors import CheckpointError, DataError, DetError, WeightsError
from det_core.plugins import registry
from det_core.plugins.versions import require_present
from det_core.recipes import Factory, Recipe, moved
from det_core.recipes.allow_list import AllowList
from det_core.recipes.check import Checker
from det_core.recipes.construct import class_of
from det_core.recipes.defaults import called
from det_core.recipes.nodes import Plan, Value
from det_core.recipes.overrides import DEFAULT_TYPES, SECTIONS, apply
from det_core.recipes.signatures import Signature
from det_core.recipes.values import DATA_FOLDER, is_location

from det_inspect.faults.stubs import UNKNOWN, stub_of

__all__ = ["find_faults", "refuse_faults"]

_MODEL = "det_core.contracts:Model"
_CERTAIN = re.compile("has no argument|is not an override|is no item|is not a key|cannot be set|there is no ")


def refuse_faults(
    source: str,
    overrides: Sequence[str],
    sections: Sequence[str],
    splits: Sequence[str],
    weights: str | None,
    new: Path | None = None,
) -> None:
    """Print all faults that `find_faults` finds but the last, which is raised; arguments as of that."""
    faults = find_faults(source, overrides, sections, splits, weights, new)
    for fault in faults[:-1]:
        echo(f"error: {' '.join(str(fault).split())}", err=True)
    if faults:
        raise faults[-1]


def find_faults(
    source: str,
    overrides: Sequence[str] = (),
    sections: Sequence[str] = SECTIONS,
    splits: Sequence[str] = (),
    weights: str | None = None,
    new: Path | None = None,
) -> list[DetError]:
    """Every fault of a recipe that source code and the file system show; none of a checkpoint or the folder of a run.

    Names, arguments, types of values and missing files are found; what a constructor itself refuses is not.

    Args:
        source: a name or a file, as `recipes.load` takes it.
        overrides: changes such as "train.steps=100".
        sections: sections of the recipe that the command uses.
        splits: the datasets whose files are needed, such as "train" and "val".
        weights: a weight file, which has to be there; "": that of the section `weights` is needed; None: none is.
        new: the folder of a run that begins, where no other may be; None: there is none.

    Raises:
        DetError: the recipe cannot be read.
    """
    faults: list[DetError] = []
    if weights and "://" not in weights and not Path(weights).exists():
        faults.append(WeightsError(weights, "there is no such file", fix="check --weights"))
    if new is not None and (new / "recipe.resolved.yaml").exists():
        fix = "add --resume to go on with it, --overwrite to start again, or choose another folder with --output"
        faults.append(CheckpointError(str(new), "holds a run already", "found recipe.resolved.yaml", fix))
    path = Path(source)
    if "://" in source or path.is_dir() or (path.suffix and path.suffix not in (".yaml", ".yml")):
        return faults
    recipe = recipes.load(source)
    tree: Mapping[str, Any] = recipe.tree
    for override in overrides:
        try:
            tree = apply(tree, [override], annotations=_annotation_of, allow=_Stubs())
        except DetError as error:
            if not _CERTAIN.search(error.problem):  # a default that the source does not show
                return faults
            faults.append(error)
    needed = [f"data.{split}." for split in splits] + ["weights."] * (weights == "")
    return faults + _in_sections(Recipe(tree, recipe.source), sections, needed)


def _in_sections(recipe: Recipe, sections: Sequence[str], needed: Sequence[str]) -> list[DetError]:
    checker = _Collector(_Stubs(), needed=needed)
    for section in sections:
        node = recipe.tree.get(section)
        if node is None and section in ("weights", "model"):
            continue
        try:
            require_present(node or {}, recipe.tree.get("versions"), section)
        except DetError as error:
            checker.faults.append(error)
        else:
            checker.check(node or {}, _annotation_of(section, node), section)
    unknown = {error.where.rpartition(".")[0] for error in checker.faults if "has no argument" in error.problem}
    # An argument that is misspelt is not missing as well, and a wrong DET_DATA is one fault of many paths.
    lost = [each for each in checker.faults if each.problem.startswith(f"starts at {DATA_FOLDER}, ")]
    return [
        each
        for each in checker.faults
        if each not in lost[1:] and not (each.where in unknown and " needs '" in each.problem)
    ]


def _annotation_of(section: str, node: Any) -> Any:
    """What a section has to be, as `overrides.annotation_of`."""
    if section == "model":
        return stub_of(_MODEL)
    return Any if isinstance(node, Mapping) and "type" in node else stub_of(DEFAULT_TYPES[section])


class _Stubs(AllowList):
    """Stubs for what a recipe names; whether it may be named is left to the check that imports it."""

    def component(self, kind: str | None, name: str, where: str) -> tuple[Any, str]:
        """The stub of what a `type` calls, and its name in full."""
        if registry.is_import_path(name):
            return self.reference(name, where), name
        component = registry.find(kind, name, where)
        return stub_of(component.target), component.qualified

    def reference(self, name: str, where: str) -> Any:
        """The stub of what an import path names."""
        return stub_of(moved.current(":".join(registry.parse_import_path(name, where))))

    def require(self, implied: type, where: str) -> None:
        """Nothing: no code is run."""


@dataclass(frozen=True)
class _Collector(Checker):
    """Checks nodes and goes on after a fault.

    Args:
        needed: starts of the paths in the recipe whose files have to be there.
        faults: those found so far.
    """

    needed: Sequence[str] = ()
    faults: list[DetError] = field(default_factory=list)

    def check(self, node: Any, annotation: Any, path: str) -> Plan:
        """A fault is kept, and the node stands for null."""
        try:
            return super().check(node, annotation, path)
        except DetError as error:
            self.faults.append(error)
            return Value(None, None)

    def argument(self, name: str, value: Any, signature: Signature, target: Any, path: str) -> Plan:
        """Compare the value of an argument, and require the file that one without a default names."""
        here = f"{path}.{name}"
        try:
            argument = signature.arguments.get(name)
            if argument is not None and isinstance(value, Mapping) and "type" not in value:
                default = argument.default
                if isinstance(default, Factory):
                    value = {"type": f"{default.target.__module__}:{default.target.__qualname__}", **value}
                elif default is UNKNOWN:
                    expected = called(argument.annotation)
                    return self._call(value, expected, here, unbuilt=True) if class_of(expected) else Value(None, None)
            plan = super().argument(name, value, signature, target, path)
        except DetError as error:
            self.faults.append(error)
            return Value(None, None)
        if argument is not None and argument.required and is_location(argument.annotation):
            self._require_file(plan.build(), here)
        return plan

    def _require_file(self, place: Any, path: str) -> None:
        if place is None or "://" in str(place) or not path.startswith(tuple(self.needed)) or Path(place).exists():
            return
        kind = WeightsError if path.startswith("weights.") else DataError
        fix = f"check the path; a relative one starts at the current folder, or at {DATA_FOLDER} where that is set"
        self.faults.append(kind(path, "there is no such file or folder", str(place), fix))

    def _union(self, node: Any, annotation: Any, members: tuple[Any, ...], path: str) -> Plan:
        """One member, or null, is checked like any annotation; of several, one has to fit as a whole."""
        if sum(member is not type(None) for member in members) == 1:
            return super()._union(node, annotation, members, path)
        return Checker(self.allow)._union(node, annotation, members, path)

    def _defaults(self, signature: Signature, names: set[str], path: str) -> dict[str, Plan]:
        """None: the defaults stand in code."""
        return {}
