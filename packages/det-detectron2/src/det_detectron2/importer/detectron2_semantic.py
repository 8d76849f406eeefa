"""Detectron2's semantic segmentation settings as the `sem_seg_head` of a recipe's model."""

from collections.abc import Mapping
from typing import Any

from det_detectron2.importer.extensions import translator
from det_detectron2.importer.settings import Settings

__all__ = ["SEM_SEG_HEAD", "sem_seg_head", "sem_seg_section"]

SEM_SEG_HEAD = {
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": ("conv_dim", 128),
    "MODEL.SEM_SEG_HEAD.COMMON_STRIDE": ("common_stride", 4),
    "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT": ("loss_weight", 1.0),
    "MODEL.SEM_SEG_HEAD.IGNORE_VALUE": ("ignore", 255),
}


def sem_seg_head(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """The entry `sem_seg_head` of a model, {} for the default."""
    if translate := translator("MODEL.SEM_SEG_HEAD.NAME", s["MODEL.SEM_SEG_HEAD.NAME"]):
        return {"sem_seg_head": translate(s, strides)}
    s.require("MODEL.SEM_SEG_HEAD.NAME", "SemSegFPNHead")
    node = sem_seg_section(s, strides)
    return {"sem_seg_head": {"type": "sem_seg_fpn_head", **node}} if node else {}


def sem_seg_section(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """Arguments of a `SemSegFPNHead` that differ from its defaults."""
    node = s.differing(SEM_SEG_HEAD)
    levels = list(s["MODEL.SEM_SEG_HEAD.IN_FEATURES"])
    if levels != [level for level, stride in strides.items() if stride <= 32]:
        node["in_features"] = levels
    if (norm := s.norm("MODEL.SEM_SEG_HEAD.NORM")) != "GN":
        node["norm"] = norm
    return node
