"""The base of trackers, as `detectron2.tracking.base_tracker`."""

from typing import Any

from det_detectron2.layer.config import configurable
from det_detectron2.layer.structures import Instances
from det_detectron2.layer.utils.registry import Registry

__all__ = ["TRACKER_HEADS_REGISTRY", "BaseTracker", "build_tracker_head"]

TRACKER_HEADS_REGISTRY = Registry("TRACKER_HEADS")
"""Trackers that are made of a `cfg`."""


class BaseTracker:
    """Gives the instances of each frame "ID", the same for the same object."""

    @configurable
    def __init__(self, **kwargs: Any) -> None:
        self._prev_instances: Instances | None = None
        self._matched_idx: set[int] = set()
        self._matched_ID: set[int] = set()
        self._untracked_prev_idx: set[int] = set()
        self._id_count = 0

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        raise NotImplementedError("Calling BaseTracker::from_config")

    def update(self, predictions: Instances) -> Instances:
        """The instances of the next frame, with their IDs."""
        raise NotImplementedError("Calling BaseTracker::update")


def build_tracker_head(cfg: Any) -> BaseTracker:
    """The tracker that TRACKER_HEADS.TRACKER_NAME names."""
    tracker: BaseTracker = TRACKER_HEADS_REGISTRY.get(cfg.TRACKER_HEADS.TRACKER_NAME)(cfg)
    return tracker
