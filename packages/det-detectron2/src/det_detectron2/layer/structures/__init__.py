"""Boxes, masks, keypoints and images, as `detectron2.structures`."""

from det_detectron2.layer.structures.boxes import (
    Boxes,
    BoxMode,
    matched_pairwise_iou,
    pairwise_intersection,
    pairwise_ioa,
    pairwise_iou,
    pairwise_point_box_distance,
)
from det_detectron2.layer.structures.image_list import ImageList
from det_detectron2.layer.structures.instances import Instances
from det_detectron2.layer.structures.keypoints import Keypoints, heatmaps_to_keypoints
from det_detectron2.layer.structures.masks import (
    BitMasks,
    PolygonMasks,
    ROIMasks,
    polygons_to_bitmask,
    rasterize_polygons_within_box,
)
from det_detectron2.layer.structures.rotated_boxes import RotatedBoxes
from det_detectron2.layer.structures.rotated_boxes import pairwise_iou as pairwise_iou_rotated

__all__ = [
    "BitMasks",
    "BoxMode",
    "Boxes",
    "ImageList",
    "Instances",
    "Keypoints",
    "PolygonMasks",
    "ROIMasks",
    "RotatedBoxes",
    "heatmaps_to_keypoints",
    "matched_pairwise_iou",
    "pairwise_intersection",
    "pairwise_ioa",
    "pairwise_iou",
    "pairwise_iou_rotated",
    "pairwise_point_box_distance",
    "polygons_to_bitmask",
    "rasterize_polygons_within_box",
]
