"""Changes of images, as `detectron2.data.transforms`."""

from det_detectron2.layer.data.transforms.resize import ResizeShortestEdge, ResizeTransform

__all__ = ["ResizeShortestEdge", "ResizeTransform"]
