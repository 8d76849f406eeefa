"""The second stage of DensePose: that of any two-stage detector, with the branch of DensePose in it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from det_core.contracts import RegionHead, ROIHeads
from det_core.models import StandardROIHeads
from det_core.recipes import Factory
from det_core.recipes.values import DATA_FOLDER
from torch import nn

from det_densepose.models.densepose import DensePoseHead

__all__ = ["densepose_roi_heads"]

_NAME = "densepose"


def densepose_roi_heads(
    channels: Mapping[str, int],
    strides: Mapping[str, int],
    num_classes: int,
    *,
    stage: Factory[ROIHeads] = Factory(StandardROIHeads),
    densepose: Factory[DensePoseHead] = Factory(DensePoseHead),
    heads: Mapping[str, Factory[RegionHead]] | None = None,
    bodies: Path | None = None,
    body: str = "smpl_27554",
) -> ROIHeads:
    """A second stage with a branch of DensePose, whose parts have the published names in the state dict.

    The parts of the branch (`decoder`, `densepose_head`, `densepose_predictor`, `embedder`) are parts of the stage,
    beside `box_head` and the like, where the published models have them; the branch itself refers to them.

    Args:
        channels: level -> number of channels, from the backbone.
        strides: level -> stride in pixels, from the backbone.
        num_classes: number of foreground classes, without background.
        stage: factory of the RoI heads with an argument `heads`, `standard_roi_heads` or `cascade_roi_heads`.
        densepose: factory of the DensePose branch.
        heads: name -> factory of an extra RoI head, for masks or keypoints.
        bodies: folder of bodies, for flips in test-time augmentation; null for `densepose` in the data folder, if it
            exists.
        body: name of the body on whose charts the model was trained.
    """
    every = {_NAME: densepose, **(heads or {})}
    built = Factory.of(stage)(channels=channels, strides=strides, num_classes=num_classes, heads=every)
    module = cast(nn.Module, built)
    branch = cast(DensePoseHead, module.get_submodule(_NAME))
    usual = Path(os.environ.get(DATA_FOLDER, ""), "densepose")
    branch.body = body
    branch.bodies = bodies if bodies is not None or not usual.is_dir() else usual
    for name, part in list(branch.named_children()):
        if part.state_dict():
            delattr(branch, name)
            object.__setattr__(branch, name, part)  # a reference; nn.Module would register it
            module.add_module(name, part)
    return built


densepose_roi_heads.contract = "ROIHeads"  # type: ignore[attr-defined]
