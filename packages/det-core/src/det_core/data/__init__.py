"""Reading images and annotations, transforming them, and putting them into batches."""

from det_core.data.formats.coco import CocoDataset
from det_core.data.images import from_pil, image_size, read_image
from det_core.data.loading.batch import Batch
from det_core.data.loading.loader import EvalLoader, TrainLoader
from det_core.data.loading.samplers import ShuffleSampler
from det_core.data.loading.settings import Data
from det_core.data.skipped_entries import LeftOutWarning, left_out, left_out_notes
from det_core.data.transforms import Points, ResizeShortestEdge, compose
from det_core.data.transforms.crops import FixedSizeCrop, RandomCrop, ScaleJitter

__all__ = [
    "Batch",
    "CocoDataset",
    "Data",
    "EvalLoader",
    "FixedSizeCrop",
    "LeftOutWarning",
    "Points",
    "RandomCrop",
    "ResizeShortestEdge",
    "ScaleJitter",
    "ShuffleSampler",
    "TrainLoader",
    "compose",
    "from_pil",
    "image_size",
    "left_out",
    "left_out_notes",
    "read_image",
]
