"""Readers of formats other than COCO's."""

from det_datasets.readers.cityscapes import CityscapesDataset
from det_datasets.readers.image_folder import ImageFolder
from det_datasets.readers.lvis import LvisDataset
from det_datasets.readers.semantic_folder import SemanticFolder
from det_datasets.readers.voc import VocDataset
from det_datasets.readers.yolo import YoloDataset

__all__ = ["CityscapesDataset", "ImageFolder", "LvisDataset", "SemanticFolder", "VocDataset", "YoloDataset"]
