"""The entries of docs/zoo.md, from the index of det_core.zoo.published; see include.py."""

from collections.abc import Callable

from det_core.zoo.published import PublishedModel, models
from det_inspect.zoo import TASKS, figures_of, package_of

STATUS = "not verified by us"
# Heading: what stands below it. Columns without any figure are left out.
FIGURES: dict[str, Callable[[PublishedModel], object]] = {
    "box AP": lambda model: figures_of(model).get("box_ap", ""),
    "mask AP": lambda model: figures_of(model).get("mask_ap", ""),
    "keypoint AP": lambda model: figures_of(model).get("keypoint_ap", ""),
    "mIoU": lambda model: model.reported.get("mIoU", ""),
    "PQ": lambda model: model.reported.get("PQ", ""),
    "proposal AR": lambda model: model.reported.get("prop. AR", ""),
    "DensePose GPS AP": lambda model: model.reported.get("dp. AP GPS", ""),
    "s/image": lambda model: figures_of(model).get("seconds", ""),
    "GB": lambda model: figures_of(model).get("gigabytes", ""),
}


def tables() -> str:
    """A table for each task."""
    return "\n" + "\n".join(_table(task) for task in TASKS) + "\n"


def _table(task: str) -> str:
    rows = [model for model in models().values() if model.task == task]
    figures = {heading: cell for heading, cell in FIGURES.items() if any(cell(model) != "" for model in rows)}
    headings = ["model", *figures, "weights", "package", "status"]
    lines = [f"### {task.capitalize()}", "", _row(headings), _row(["---"] * len(headings))]
    for model in rows:
        weights = f"[file]({model.weights})" if model.weights else "none"
        cells = [
            f"`{model.name}`",
            *(str(cell(model)) for cell in figures.values()),
            weights,
            package_of(model) or "none yet",
            STATUS,
        ]
        lines.append(_row(cells))
    return "\n".join([*lines, ""])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
