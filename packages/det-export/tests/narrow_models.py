"""Narrow versions of every architecture, with random weights that find nothing, one thing, or many.

`MODELS` names them; tests export some, `docs/export_support.py` all of them to every format.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from det_core import recipes
from det_core.data import read_image
from det_core.structures import ImageBatch, Size
from det_export.check import BLACK, BOUNDS, Agreement, Row, compare, compared, shipped
from det_export.proposals import with_proposals
from torch import Tensor, nn

__all__ = [
    "EXAMPLE",
    "MODELS",
    "OTHERS",
    "agreement_of",
    "built",
    "example_of",
    "others_of",
    "picture",
    "seed_of",
    "spread",
]

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)

EXAMPLE = (192, 224)
"""Height and width of the image that programs are traced with."""

OTHERS = ((160, 256), (224, 192))
"""Sizes that they are compared at."""

_TRUNK = {"bottom_up": {"depth": 18, "stem_channels": 8, "res2_channels": 8}, "out_channels": 16}
_BOTTLENECK = {"stem_channels": 8, "res2_channels": 16}
_FEW = {"pre_nms_topk_test": 200, "post_nms_topk_test": 50}
_RPN = {"nms": _FEW}
_BOX_HEAD = {"type": "fast_rcnn_conv_fc_head", "fc_dim": 32}
_ROI = {"box_head": _BOX_HEAD}
_MASK = {"type": "mask_rcnn_conv_upsample_head", "num_conv": 1, "conv_dim": 8}
_RCNN = {"num_classes": 3, "backbone": _TRUNK, "proposal_generator": _RPN, "roi_heads": _ROI}
_C4 = {
    "num_classes": 3,
    "backbone": _BOTTLENECK,
    "proposal_generator": _RPN,
    "roi_heads": {"res5": {"out_channels": 128, "width_per_group": 4}},
}
_DC5 = {"num_classes": 3, "backbone": _BOTTLENECK, "proposal_generator": _RPN, "roi_heads": _ROI}
_DENSE = {"num_classes": 3, "backbone": {**_TRUNK, "out_channels": 32}}
_SURFACE = {
    "decoder": {"out_channels": 8, "conv_dim": 8},
    "densepose_head": {"type": "det_densepose.models:DensePoseV1ConvXHead", "num_conv": 1, "conv_dim": 8},
}
_POSE = {
    "backbone": _TRUNK,
    "proposal_generator": _RPN,
    "roi_heads": {"stage": {"type": "standard_roi_heads", **_ROI}, "densepose": _SURFACE},
}
_IMPLICIT = "det_pointrend.layers:ImplicitPointHead"
_DEEPLAB = {"num_classes": 3, "backbone": {"res2_channels": 16, "stem_channels": 8, "width_per_group": 4, "depth": 50}}
_DECODER = {"aspp_channels": 16, "decoder_channels": 16}


def _pose(**densepose: Any) -> dict[str, Any]:
    return {**_POSE, "roi_heads": {**_POSE["roi_heads"], "densepose": {**_SURFACE, **densepose}}}


def _transformer(backbone: Mapping[str, Any]) -> dict[str, Any]:
    return {"num_classes": 3, "backbone": backbone, "proposal_generator": _RPN, "roi_heads": _ROI}


# Name: recipe, and what makes it narrow.
MODELS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "RPN FPN": ("rpn_r50_fpn_1x", {"num_classes": 3, "backbone": _TRUNK, "proposal_generator": _RPN}),
    "RPN C4": ("rpn_r50_c4_1x", {"num_classes": 3, "backbone": _BOTTLENECK, "proposal_generator": _RPN}),
    "Fast R-CNN FPN": ("fast_rcnn_r50_fpn_1x", {"num_classes": 3, "backbone": _TRUNK, "roi_heads": _ROI}),
    "Faster R-CNN FPN": ("faster_rcnn_r50_fpn_1x", _RCNN),
    "Faster R-CNN C4": ("faster_rcnn_r50_c4_1x", _C4),
    "Faster R-CNN DC5": ("faster_rcnn_r50_dc5_1x", _DC5),
    "Mask R-CNN FPN": ("mask_rcnn_r50_fpn_1x", {**_RCNN, "mask_head": _MASK}),
    "Mask R-CNN C4": ("mask_rcnn_r50_c4_1x", {**_C4, "mask_head": {"conv_dim": 8}}),
    "Mask R-CNN DC5": ("mask_rcnn_r50_dc5_1x", {**_DC5, "mask_head": _MASK}),
    "Keypoint R-CNN FPN": (
        "keypoint_rcnn_r50_fpn_1x",
        {
            **_RCNN,
            "num_classes": 1,
            "keypoint_head": {
                "type": "keypoint_rcnn_conv_deconv_upsample_head",
                "num_keypoints": 5,
                "conv_dims": [8],
            },
        },
    ),
    "Cascade R-CNN FPN": ("cascade_mask_rcnn_r50_fpn_1x", {**_RCNN, "mask_head": _MASK}),
    "Rotated Faster R-CNN": ("rotated_faster_rcnn_r50_fpn_3x", _RCNN),
    "RetinaNet": ("retinanet_r50_fpn_1x", _DENSE),
    "FCOS": ("fcos_r50_fpn_1x", _DENSE),
    "Semantic FPN": ("semantic_r50_fpn_1x", {"num_classes": 3, "backbone": _TRUNK}),
    "RegNet": (
        "mask_rcnn_regnetx_4gf_dds_fpn_1x",
        {"num_classes": 3, "proposal_generator": _RPN, "roi_heads": _ROI, "mask_head": _MASK},
    ),
    "Deformable": (
        "mask_rcnn_r50_fpn_1x_dconv_c3-c5",
        {**_RCNN, "backbone": {"bottom_up": _BOTTLENECK, "out_channels": 16}, "mask_head": _MASK},
    ),
    "PointRend": ("pointrend_rcnn_r50_fpn_1x_coco", _RCNN),
    "Implicit PointRend": (
        "implicit_pointrend_r50_fpn_1x_coco",
        {**_RCNN, "mask_head": {"point_head": {"type": _IMPLICIT, "fc_dim": 16}, "region_layers": {"fc_dim": 32}}},
    ),
    "PointRend semantic": (
        "pointrend_semantic_r101_fpn_1x_cityscapes",
        {"num_classes": 3, "backbone": _TRUNK},
    ),
    "TensorMask": (
        "tensormask_r50_fpn_1x",
        {
            "num_classes": 3,
            "backbone": _TRUNK,
            "head": {"subnets": {"num_convs": 1, "class_channels": 8, "box_channels": 8, "mask_channels": 8}},
        },
    ),
    "TridentNet": ("tridentnet_fast_r50_c4_1x", _C4),
    "DensePose charts": ("densepose_rcnn_r50_fpn_s1x", _POSE),
    "DensePose confidences": (
        "densepose_rcnn_r50_fpn_wc2_s1x",
        _pose(),
    ),
    "DensePose CSE": ("densepose_cse_r50_fpn_s1x", _pose()),
    "DensePose HRNet": (
        "densepose_rcnn_hrfpn_hrnet_w32_s1x",
        {
            **_POSE,
            "backbone": {
                "out_channels": 16,
                "bottom_up": {"channels": [4, 8, 12, 16], "modules": [1, 1, 1], "blocks": 1, "stem_channels": 4},
            },
        },
    ),
    "ViTDet": (
        "tiny_vitdet_blood_cells",
        _transformer({"out_channels": 16, "net": {"channels": 24, "depth": 2, "windows": {"size": 8, "blocks": [0]}}}),
    ),
    "MViTv2": (
        "tiny_mvitv2_blood_cells",
        _transformer({"out_channels": 16, "bottom_up": {"channels": 8, "depth": 4, "last_blocks": [0, 1, 2, 3]}}),
    ),
    "Swin": (
        "tiny_swin_blood_cells",
        _transformer({"out_channels": 16, "bottom_up": {"channels": 8, "depths": [2, 2, 2, 2]}}),
    ),
    "timm": (
        "faster_rcnn_r50_fpn_1x",
        {**_RCNN, "backbone": {"bottom_up": {"type": "timm", "name": "test_resnet"}, "out_channels": 16}},
    ),
    "Panoptic FPN": (
        "panoptic_fpn_r50_1x",
        {
            "num_things": 3,
            "num_stuff": 2,
            "backbone": _TRUNK,
            "proposal_generator": _RPN,
            "roi_heads": _ROI,
            "mask_head": _MASK,
        },
    ),
    "DeepLab v3": ("deeplab_v3_r103_os16_mg124_poly_90k_bs16", {**_DEEPLAB, "sem_seg_head": {"aspp_channels": 16}}),
    "DeepLab v3+": (
        "deeplab_v3_plus_r103_os16_mg124_poly_90k_bs16",
        {**_DEEPLAB, "sem_seg_head": {"decoder": _DECODER}},
    ),
    "Panoptic-DeepLab": (
        "panoptic_deeplab_r52_os16_mg124_poly_90k_bs32_crop_512_1024",
        {
            **_DEEPLAB,
            "things": [1, 2],
            "sem_seg_head": {"decoder": _DECODER, "head_channels": 16},
            "ins_embed_head": {"decoder": _DECODER, "head_channels": 16},
        },
    ),
}


# Where windows or levels would be single at the usual size, or weights are large.
_LARGER = {"Swin": (256, 288), "TensorMask": (256, 288), "DensePose HRNet": (256, 288)}


def example_of(name: str) -> Size:
    """Height and width of the image that the program of this model is traced with."""
    return _LARGER.get(name, EXAMPLE)


def others_of(name: str) -> tuple[Size, ...]:
    """The sizes that the program of this model is compared at."""
    return ((320, 256), (288, 352)) if name in _LARGER else OTHERS


def built(name: str, seed: int = 0) -> nn.Module:
    """The narrow model, in evaluation mode, whose random outputs are spread so that a threshold parts them."""
    torch.manual_seed(seed)
    recipe, changes = MODELS[name]
    tree = {"extends": recipe, "model": changes}
    model = recipes.recipe_from_tree(tree).build_model().eval()
    spread(model, EXAMPLE)
    return model


@cache
def seed_of(name: str) -> int:
    """The first seed whose model detects the same when its weights are moved by more than rounding does.

    Random weights may put two scores, or an overlap and its threshold, closer than two ways of adding up: then another
    runtime detects something else without a fault. The file of a model has no part in the choice.

    Raises:
        RuntimeError: there is no such seed among the first ten.
    """
    for seed in range(10):
        model = built(name, seed)
        if all(_is_settled(model, picture(size)) for size in others_of(name)):
            return seed
    raise RuntimeError(f"no weights of {name} detect the same when they are moved by a millionth")


def agreement_of(model: nn.Module, exported: Any, path: Path, sizes: Sequence[Size]) -> Agreement:
    """The check of a file, without the black picture where the model itself is not settled on it.

    Random weights give many places of a black picture nearly the same score, and rounding orders them; trained models
    detect nothing there.
    """
    agreement = compare(model, exported, shipped()[:1], sizes, path)
    black = picture(sizes[0])
    if not _is_settled(model, replace(black, pixels=torch.zeros_like(black.pixels))):
        agreement.rows = [row for row in agreement.rows if row.image != BLACK]
    return agreement


@torch.no_grad()
def _is_settled(model: nn.Module, batch: ImageBatch) -> bool:
    """Whether weights that differ by about a millionth detect the same on a picture, three times."""
    (expected,) = model(with_proposals(model, batch))
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        moved = copy.deepcopy(model)
        for weight in moved.parameters():
            weight.mul_(1 + _MOVED * torch.randn(weight.shape, generator=generator))
        (found,) = moved(with_proposals(moved, batch))
        row = compared(Row("moved", batch.sizes[0], bounds=_SETTLED), expected, found)
        if not row.agrees or row.expected != row.actual:
            return False
    return True


def picture(size: Size) -> ImageBatch:
    """The first picture that the package brings, resized."""
    pixels = read_image(shipped()[0])[None].float()
    resized = nn.functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    return ImageBatch(pixels=resized.round().to(torch.uint8), sizes=(size,))


_MOVED = 1e-6
_SETTLED = replace(BOUNDS["fp32"], boxes=0.5, scores=0.01, matched=1.0, extras=0.1)
# What outputs of layers are scaled to, by the end of their names: standard deviations.
_SPREAD = {"cls_score": 1.5, "objectness_logits": 1.5, "anchor_deltas": 0.3, "bbox_pred": 0.3}


@torch.no_grad()
def spread(model: nn.Module, size: Size) -> None:
    """Scale each layer so that its output has a standard deviation of about 1 on a picture, from first to last."""
    done: set[int] = set()

    def scale(name: str, layer: nn.Module, output: Tensor) -> Tensor | None:
        if id(layer) in done or output.numel() < 2:
            return None
        done.add(id(layer))
        flat = output.float()
        factor = _SPREAD.get(name.rpartition(".")[2], 1.0) / float(flat.std().clamp(min=1e-6))
        layer.weight.mul_(factor)
        if layer.bias is not None:
            layer.bias.mul_(factor)
        return output * factor

    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, _LAYERS)]
    hooks = [m.register_forward_hook(lambda m, _, out, n=n: scale(n, m, out)) for n, m in layers]
    for layer in (m for n, m in layers if n.rpartition(".")[2] in _SPREAD):
        nn.init.normal_(layer.weight)
    model(with_proposals(model, picture(size)))
    for hook in hooks:
        hook.remove()
