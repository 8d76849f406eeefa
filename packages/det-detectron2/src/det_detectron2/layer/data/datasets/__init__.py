"""Reading data sets, as `detectron2.data.datasets`."""

from det_detectron2.layer.data.datasets.coco import load_coco_json, register_coco_instances

__all__ = ["load_coco_json", "register_coco_instances"]
