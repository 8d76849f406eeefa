"""The checkpointer, as `detectron2.checkpoint.detection_checkpoint`."""

from det_detectron2.layer.checkpoint import DetectionCheckpointer

__all__ = ["DetectionCheckpointer"]
