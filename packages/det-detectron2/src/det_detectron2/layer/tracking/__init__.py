"""Objects over the frames of a video, as `detectron2.tracking`."""

from det_detectron2.layer.tracking.base_tracker import TRACKER_HEADS_REGISTRY, BaseTracker, build_tracker_head
from det_detectron2.layer.tracking.bbox_iou_tracker import BBoxIOUTracker
from det_detectron2.layer.tracking.hungarian_tracker import BaseHungarianTracker
from det_detectron2.layer.tracking.iou_weighted_hungarian_bbox_iou_tracker import (
    IOUWeightedHungarianBBoxIOUTracker,
)
from det_detectron2.layer.tracking.utils import create_prediction_pairs
from det_detectron2.layer.tracking.vanilla_hungarian_bbox_iou_tracker import VanillaHungarianBBoxIOUTracker

__all__ = [
    "TRACKER_HEADS_REGISTRY",
    "BBoxIOUTracker",
    "BaseHungarianTracker",
    "BaseTracker",
    "IOUWeightedHungarianBBoxIOUTracker",
    "VanillaHungarianBBoxIOUTracker",
    "build_tracker_head",
    "create_prediction_pairs",
]
