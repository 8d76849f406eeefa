"""Postprocessing steps that no graph can contain: safe parts, named in the file, that run after the program."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from det_core import recipes
from det_core.contracts import Exportable, Exported
from det_core.errors import CheckpointError, DetError
from det_core.structures import Prediction
from torch import Tensor, nn

__all__ = ["Finish", "finishers", "graph_branches", "parts_of", "written_for"]

Finish = Callable[[Prediction], Prediction]
"""A postprocessing step: from the prediction of one image to the finished one."""

_MOST = 16


@contextlib.contextmanager
def graph_branches() -> Iterator[None]:
    """Within it, `torch.compiler.is_exporting()` is true, so models take their branches for export, without tracing.

    It shows the outputs of a model that predicts others in a graph, such as heatmaps instead of keypoints.
    """
    compiler: Any = torch.compiler
    before = compiler._is_exporting_flag  # torch has a public getter, but no public setter
    compiler._is_exporting_flag = True
    try:
        yield
    finally:
        compiler._is_exporting_flag = before


def written_for(model: nn.Module) -> nn.Module:
    """The model that a program contains: the given one, or its replacement (`det_core.contracts.Exportable`)."""
    while isinstance(model, Exportable):
        inner = model.exported().model
        if inner is None:
            return model
        model = inner
    return model


def parts_of(model: nn.Module) -> tuple[dict[str, Tensor], list[Mapping[str, Any]]]:
    """The constants by name, and the nodes of the steps after the program, of a model and all of its parts."""
    parts: list[Exported] = [each.exported() for each in model.modules() if isinstance(each, Exportable)]
    constants: dict[str, Tensor] = {}
    for each in parts:
        constants |= {name: value.detach().cpu().clone() for name, value in each.constants.items()}
    return constants, [dict(each.finish) for each in parts if each.finish is not None]


def finishers(nodes: Sequence[Mapping[str, Any]], where: str) -> list[Finish]:
    """Build the postprocessing steps of a file, which must be safe parts of installed packages.

    Raises:
        CheckpointError: a node is invalid, or is not a safe part of an installed plugin.
    """
    if len(nodes) > _MOST:
        raise CheckpointError(where, "names too many steps after its program", f"{len(nodes)}", "export it again")
    try:
        return [_part(node, where) for node in nodes]
    except DetError as error:
        names = ", ".join(str(node.get("type"))[:80] for node in nodes)
        fix = "install the package that it is from, such as det-panoptic of det_panoptic"
        raise CheckpointError(where, "names steps after its program that no plugin has", names, fix) from error


def _part(node: Mapping[str, Any], where: str) -> Finish:
    recipe = recipes.recipe_from_tree({"model": {}, "data": {"finish": dict(node)}}, where, trusted=False)
    built: Finish = recipe.build_part("data.finish", Callable[[Prediction], Prediction])
    return built
