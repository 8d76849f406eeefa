"""Settings, as `detectron2.config.config`, the module that pickled configurations name."""

from det_detectron2.layer.config.configurable import configurable
from det_detectron2.layer.config.node import CfgNode, get_cfg, global_cfg, set_global_cfg

__all__ = ["CfgNode", "configurable", "get_cfg", "global_cfg", "set_global_cfg"]
