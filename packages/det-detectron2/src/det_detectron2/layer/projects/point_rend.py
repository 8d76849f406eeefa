"""Settings of PointRend, as `detectron2.projects.point_rend`; its parts are in det-pointrend."""

from typing import Any

from det_detectron2.layer.projects._settings import add_settings

__all__ = ["add_pointrend_config"]


def add_pointrend_config(cfg: Any) -> None:
    """Add the settings of the project; MissingExtraError where det-pointrend is not installed."""
    add_settings(cfg, "det-pointrend")
