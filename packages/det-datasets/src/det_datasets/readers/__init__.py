"""Readers of annotation formats other than COCO's."""

from det_datasets.readers.cityscapes import CityscapesDataset
from det_datasets.readers.lvis import LvisDataset
from det_datasets.readers.semantic_folder import SemanticFolder
from det_datasets.readers.voc import VocDataset
from det_datasets.readers.yolo import YoloDataset

__all__ = ["CityscapesDataset", "LvisDataset", "SemanticFolder", "VocDataset", "YoloDataset"]
