"""Reading images and annotations, transforming them, and putting them into batches."""

from det_core.data.batch import Batch
from det_core.data.check import check
from det_core.data.cityscapes import CITYSCAPES_CLASSES, CityscapesDataset
from det_core.data.coco import CocoDataset
from det_core.data.concat import ConcatDataset
from det_core.data.convert import Converted, convert
from det_core.data.crops import FixedSizeCrop, ObjectCrop, RandomCrop, ScaleJitter
from det_core.data.folder import ImageFolder
from det_core.data.images import from_pil, image_size, read_image
from det_core.data.loader import EvalLoader, TrainLoader
from det_core.data.lvis import LvisDataset
from det_core.data.mixing import CopyPaste, Mosaic
from det_core.data.proposals import ProposalWriter, WithProposals, write_proposals
from det_core.data.report import KINDS, Defect, Report
from det_core.data.samplers import ClassBalancedSampler, RepeatFactorSampler, ShuffleSampler
from det_core.data.semantic_folder import SemanticFolder
from det_core.data.settings import Data
from det_core.data.transforms import Points, ResizeShortestEdge, compose
from det_core.data.voc import VOC_CLASSES, VocDataset
from det_core.data.yolo import YoloDataset

__all__ = [
    "CITYSCAPES_CLASSES",
    "KINDS",
    "VOC_CLASSES",
    "Batch",
    "CityscapesDataset",
    "ClassBalancedSampler",
    "CocoDataset",
    "ConcatDataset",
    "Converted",
    "CopyPaste",
    "Data",
    "Defect",
    "EvalLoader",
    "FixedSizeCrop",
    "ImageFolder",
    "LvisDataset",
    "Mosaic",
    "ObjectCrop",
    "Points",
    "ProposalWriter",
    "RandomCrop",
    "RepeatFactorSampler",
    "Report",
    "ResizeShortestEdge",
    "ScaleJitter",
    "SemanticFolder",
    "ShuffleSampler",
    "TrainLoader",
    "VocDataset",
    "WithProposals",
    "YoloDataset",
    "check",
    "compose",
    "convert",
    "from_pil",
    "image_size",
    "read_image",
    "write_proposals",
]
