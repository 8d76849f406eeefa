"""Layers, as `detectron2.layers`."""

from det_core.ops.layers import FrozenBatchNorm2d
from torch.nn import BatchNorm2d, ConvTranspose2d, Linear
from torch.nn.functional import interpolate

from det_detectron2.layer.layers.aspp import ASPP
from det_detectron2.layer.layers.batch_norm import NaiveSyncBatchNorm, get_norm
from det_detectron2.layer.layers.blocks import CNNBlockBase, DepthwiseSeparableConv2d
from det_detectron2.layer.layers.deform_conv import DeformConv, ModulatedDeformConv
from det_detectron2.layer.layers.losses import ciou_loss, diou_loss
from det_detectron2.layer.layers.mask_ops import paste_masks_in_image
from det_detectron2.layer.layers.nms import batched_nms, batched_nms_rotated, nms, nms_rotated
from det_detectron2.layer.layers.roi_align import ROIAlign, roi_align
from det_detectron2.layer.layers.roi_align_rotated import ROIAlignRotated, roi_align_rotated
from det_detectron2.layer.layers.rotated_boxes import pairwise_iou_rotated
from det_detectron2.layer.layers.shape_spec import ShapeSpec
from det_detectron2.layer.layers.wrappers import (
    Conv2d,
    cat,
    cross_entropy,
    move_device_like,
    nonzero_tuple,
    shapes_to_tensor,
)

__all__ = [
    "ASPP",
    "BatchNorm2d",
    "CNNBlockBase",
    "Conv2d",
    "ConvTranspose2d",
    "DeformConv",
    "DepthwiseSeparableConv2d",
    "FrozenBatchNorm2d",
    "Linear",
    "ModulatedDeformConv",
    "NaiveSyncBatchNorm",
    "ROIAlign",
    "ROIAlignRotated",
    "ShapeSpec",
    "batched_nms",
    "batched_nms_rotated",
    "cat",
    "ciou_loss",
    "cross_entropy",
    "diou_loss",
    "get_norm",
    "interpolate",
    "move_device_like",
    "nms",
    "nms_rotated",
    "nonzero_tuple",
    "pairwise_iou_rotated",
    "paste_masks_in_image",
    "roi_align",
    "roi_align_rotated",
    "shapes_to_tensor",
]
