"""Files of earlier versions of Detectron2's settings, as `detectron2.config.compat`."""

from collections.abc import Iterable
from typing import Any

from yacs.config import CfgNode

__all__ = ["downgrade_config", "guess_version", "upgrade_config"]

_FPN, _TEST = "MODEL.PANOPTIC_FPN", "TEST"
_RENAMED: tuple[tuple[tuple[str, str], ...], ...] = (
    (("MODEL.RPN_HEAD.NAME", "MODEL.RPN.HEAD_NAME"),),
    (
        ("MODEL.WEIGHT", "MODEL.WEIGHTS"),
        (f"{_FPN}.SEMANTIC_LOSS_SCALE", "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT"),
        (f"{_FPN}.RPN_LOSS_SCALE", "MODEL.RPN.LOSS_WEIGHT"),
        (f"{_FPN}.INSTANCE_LOSS_SCALE", f"{_FPN}.INSTANCE_LOSS_WEIGHT"),
        (f"{_FPN}.COMBINE_ON", f"{_FPN}.COMBINE.ENABLED"),
        (f"{_FPN}.COMBINE_OVERLAP_THRESHOLD", f"{_FPN}.COMBINE.OVERLAP_THRESH"),
        (f"{_FPN}.COMBINE_STUFF_AREA_LIMIT", f"{_FPN}.COMBINE.STUFF_AREA_LIMIT"),
        (f"{_FPN}.COMBINE_INSTANCES_CONFIDENCE_THRESHOLD", f"{_FPN}.COMBINE.INSTANCES_CONFIDENCE_THRESH"),
        ("MODEL.ROI_HEADS.SCORE_THRESH", "MODEL.ROI_HEADS.SCORE_THRESH_TEST"),
        ("MODEL.ROI_HEADS.NMS", "MODEL.ROI_HEADS.NMS_THRESH_TEST"),
        ("MODEL.RETINANET.INFERENCE_SCORE_THRESHOLD", "MODEL.RETINANET.SCORE_THRESH_TEST"),
        ("MODEL.RETINANET.INFERENCE_TOPK_CANDIDATES", "MODEL.RETINANET.TOPK_CANDIDATES_TEST"),
        ("MODEL.RETINANET.INFERENCE_NMS_THRESHOLD", "MODEL.RETINANET.NMS_THRESH_TEST"),
        ("TEST.DETECTIONS_PER_IMG", "TEST.DETECTIONS_PER_IMAGE"),
        ("TEST.AUG_ON", "TEST.AUG.ENABLED"),
        ("TEST.AUG_MIN_SIZES", "TEST.AUG.MIN_SIZES"),
        ("TEST.AUG_MAX_SIZE", "TEST.AUG.MAX_SIZE"),
        ("TEST.AUG_FLIP", "TEST.AUG.FLIP"),
    ),
)
"""The names that each version changed, from version 0 on: (old, new)."""
_NEWEST = len(_RENAMED)


def upgrade_config(cfg: CfgNode, to_version: int | None = None) -> CfgNode:
    """A copy brought from the version that it names to a later one, by default the newest."""
    cfg = cfg.clone()
    target = _NEWEST if to_version is None else to_version
    assert target >= cfg.VERSION, f"Cannot upgrade from v{cfg.VERSION} to v{target}!"
    for version in range(cfg.VERSION, target):
        _rename(cfg, _RENAMED[version])
        cfg.VERSION = version + 1
    return cfg


def downgrade_config(cfg: CfgNode, to_version: int) -> CfgNode:
    """A copy brought back to an earlier version."""
    cfg = cfg.clone()
    assert to_version <= cfg.VERSION, f"Cannot downgrade from v{cfg.VERSION} to v{to_version}!"
    for version in range(cfg.VERSION, to_version, -1):
        _rename(cfg, ((new, old) for old, new in _RENAMED[version - 1]))
        cfg.VERSION = version - 1
    return cfg


def guess_version(cfg: CfgNode) -> int:
    """The version of a tree that does not name it: 1 if it has a name that later versions changed, else the newest."""
    old = any(_has(cfg, name) for table in _RENAMED for name, _ in table)
    return 1 if old else _NEWEST


def _has(cfg: CfgNode, path: str) -> bool:
    node: Any = cfg
    for name in path.split("."):
        if not isinstance(node, CfgNode) or name not in node:
            return False
        node = node[name]
    return True


def _rename(cfg: CfgNode, table: Iterable[tuple[str, str]]) -> None:
    for old, new in table:
        if not _has(cfg, old):
            continue
        *folders, name = old.split(".")
        nodes = [cfg]
        for folder in folders:
            nodes.append(nodes[-1][folder])
        value = nodes[-1].pop(name)
        for node, folder in zip(reversed(nodes[:-1]), reversed(folders), strict=True):
            if not node[folder]:
                del node[folder]
        *folders, name = new.split(".")
        node = cfg
        for folder in folders:
            node = node.setdefault(folder, type(node)())
        node[name] = value
