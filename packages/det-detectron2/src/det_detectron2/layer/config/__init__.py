"""Configurations, as `detectron2.config`; `LazyCall` and `LazyConfig` import omegaconf when they are used."""

from typing import TYPE_CHECKING, Any

from det_detectron2.layer.config.configurable import configurable
from det_detectron2.layer.config.instantiate import instantiate
from det_detectron2.layer.config.node import CfgNode, get_cfg, global_cfg, set_global_cfg
from det_detectron2.layer.config.versions import downgrade_config, upgrade_config

if TYPE_CHECKING:
    from det_detectron2.layer.config.lazy import LazyCall, LazyConfig

__all__ = [
    "CfgNode",
    "LazyCall",
    "LazyConfig",
    "configurable",
    "downgrade_config",
    "get_cfg",
    "global_cfg",
    "instantiate",
    "set_global_cfg",
    "upgrade_config",
]


def __getattr__(name: str) -> Any:
    if name not in ("LazyCall", "LazyConfig"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from det_detectron2.layer.config import lazy

    return getattr(lazy, name)
