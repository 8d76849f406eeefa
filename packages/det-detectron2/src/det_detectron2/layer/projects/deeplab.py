"""Settings of DeepLab, as `detectron2.projects.deeplab`; its parts are in det-panoptic."""

from typing import Any

from det_detectron2.layer.projects._settings import add_settings

__all__ = ["add_deeplab_config"]


def add_deeplab_config(cfg: Any) -> None:
    """Add the settings of the project; MissingExtraError where det-panoptic is not installed."""
    add_settings(cfg, "det-panoptic")
