"""The defaults, as `detectron2.config.defaults`."""

from det_detectron2.layer.config.node import get_cfg

__all__ = ["_C"]

_C = get_cfg()
