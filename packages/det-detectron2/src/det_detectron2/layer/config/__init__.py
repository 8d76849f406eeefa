"""Configurations, as `detectron2.config`."""

from det_detectron2.layer.config.configurable import configurable
from det_detectron2.layer.config.instantiate import instantiate
from det_detectron2.layer.config.lazy import LazyCall, LazyConfig
from det_detectron2.layer.config.node import CfgNode, get_cfg, global_cfg, set_global_cfg
from det_detectron2.layer.config.versions import downgrade_config, upgrade_config

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
