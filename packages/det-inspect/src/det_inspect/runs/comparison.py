"""Differences between runs: metrics and settings."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from det_core.errors import DetError
from det_core.recipes import recipe_from_tree

from det_inspect.runs.reading import Run

__all__ = ["differing_settings", "labels", "metrics_table"]

_ABSENT = "-"


def labels(runs: Sequence[Run]) -> list[str]:
    """A short name for each run: of its folder, with those above where two have one name."""
    parts = [run.path.resolve().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{number}: {run.path.name}" for number, run in enumerate(runs, start=1)]


def metrics_table(runs: Sequence[Run]) -> list[tuple[str, list[float | None]]]:
    """(name, value in each run, None where it has none): training loss, then metrics of the best checkpoint."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    table: list[tuple[str, list[float | None]]] = [("training loss, last", [run.last("loss") for run in runs])]
    for name in names:
        label = f"validation {name}" if name.startswith("loss") else name
        table.append((label, [run.metrics.get(name) for run in runs]))
    return table


def differing_settings(runs: Sequence[Run]) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """The settings that are not the same in all runs, by their dotted paths, and what hinders comparing.

    Recipes of different versions are brought to the names and defaults of the installed one first, building nothing.
    """
    notes: list[str] = []
    trees = [dict(run.tree) for run in runs]
    if any(tree.get("versions") != trees[0].get("versions") for tree in trees):
        try:
            trees = [_of_today(run) for run in runs]
        except DetError as error:
            notes.append(f"settings of different versions are compared as they were written: {error}")
    flat = [dict(_leaves(tree, "")) for tree in trees]
    paths = list(dict.fromkeys(path for leaves in flat for path in leaves))
    table = [(path, [leaves.get(path, _ABSENT) for leaves in flat]) for path in paths]
    return [(path, values) for path, values in table if len(set(values)) > 1], notes


def _of_today(run: Run) -> dict[str, Any]:
    resolved = recipe_from_tree(run.tree, str(run.path), trusted=False).resolved()
    return {**resolved.tree, "versions": run.tree.get("versions", {})}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            if path or key != "summary":
                yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{number}]")
    else:
        yield path, "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
