"""Their earlier place, as `detectron2.data.datasets.register_coco`."""

from det_detectron2.layer.data.datasets.coco import register_coco_instances
from det_detectron2.layer.data.datasets.coco_panoptic import register_coco_panoptic_separated

__all__ = ["register_coco_instances", "register_coco_panoptic_separated"]
