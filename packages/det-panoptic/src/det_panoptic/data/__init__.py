"""Readers of panoptic and semantic datasets."""

from det_panoptic.data.ade20k import Ade20k
from det_panoptic.data.cityscapes import CityscapesPanoptic, CityscapesSemantic
from det_panoptic.data.coco import CocoPanoptic

__all__ = ["Ade20k", "CityscapesPanoptic", "CityscapesSemantic", "CocoPanoptic"]
