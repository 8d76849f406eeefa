"""Small configurations of this package's components for the conformance kit; see `det_devkit.conformance`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from det_core.models import (
    RPN,
    FastRCNNConvFCHead,
    MaskRCNNConvUpsampleHead,
    ProposalNMS,
    StandardROIHeads,
)
from det_core.recipes import Factory
from det_core.structures import Targets
from det_devkit.conformance import conformance
from det_devkit.conformance.evaluators import panoptic_map
from PIL import Image

from det_panoptic.deeplab import DeepLabDecoder
from det_panoptic.panoptic_deeplab import PanopticDeepLabInsEmbedHead, PanopticDeepLabSemSegHead
from det_panoptic.segments import IDS, SEGMENTS, SegmentIds
from det_panoptic.semantic import SemSegFPNHead

__all__ = ["settings"]

_SMALL = {"decoder_channels": 8, "aspp_channels": 8, "norm": "BN"}
_LEVELS = {"in_features": ("p2", "p3", "p5"), "project_channels": (8, 8)}
_BRANCH: dict[str, Any] = {"decoder": Factory(DeepLabDecoder, **_SMALL, **_LEVELS), "head_channels": 8}


def _with_segments(targets: Targets) -> Targets:
    """Targets with the segments of the kit's images."""
    panoptic = panoptic_map(targets)
    if panoptic is None:
        return targets
    rows = [(each["label"], int(each["is_thing"]), 0) for each in panoptic.segments]
    segments = torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)
    return replace(targets, image_extras={IDS: panoptic.ids.as_subclass(SegmentIds), SEGMENTS: segments})


def _label_images(images: Path, labels: Path, highest: int) -> None:
    for folder in (images, labels):
        folder.mkdir(parents=True)
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(images / "a_leftImg8bit.png")
    values = np.arange(600).reshape(20, 30) % (highest + 1)
    for name in ("a_leftImg8bit.png", "a_gtFine_labelIds.png"):
        Image.fromarray(values.astype(np.uint8)).save(labels / name)


def _ade20k(folder: Path) -> dict[str, Path]:
    _label_images(folder / "images", folder / "labels", 150)
    return {"images": folder / "images", "labels": folder / "labels"}


def _cityscapes_semantic(folder: Path) -> dict[str, Path]:
    _label_images(folder / "images", folder / "labels", 33)
    return {"images": folder / "images", "annotations": folder / "labels"}


def _cityscapes_panoptic(folder: Path) -> dict[str, Any]:
    arguments = _segments(folder)
    (arguments["images"] / "1").mkdir()
    (arguments["images"] / "1.png").rename(arguments["images"] / "1" / "1_leftImg8bit.png")
    return {**arguments, "masks": True}


def _coco_panoptic(folder: Path) -> dict[str, Any]:
    return {**_segments(folder), "masks": True}


def _segments(folder: Path) -> dict[str, Path]:
    """An image of a square on grass."""
    for name in ("images", "labels"):
        (folder / name).mkdir()
    ids = np.full((20, 30), 2, np.uint8)
    ids[5:15, 8:18] = 1
    Image.fromarray(ids * 100).convert("RGB").save(folder / "images" / "1.png")
    Image.fromarray(np.stack((ids, ids * 0, ids * 0), -1)).save(folder / "labels" / "1.png")
    segments = [{"id": 1, "category_id": 1, "iscrowd": 0}, {"id": 2, "category_id": 2, "iscrowd": 0}]
    content = {
        "images": [{"id": 1, "file_name": "1.png", "height": 20, "width": 30}],
        "annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": segments}],
        "categories": [{"id": 1, "name": "square", "isthing": 1}, {"id": 2, "name": "grass", "isthing": 0}],
    }
    (folder / "panoptic.json").write_text(json.dumps(content), encoding="utf-8")
    return {"images": folder / "images", "annotations": folder / "panoptic.json", "labels": folder / "labels"}


settings = conformance(
    "det-panoptic",
    examples={
        "backbones/deeplab_resnet": {"res2_channels": 32, "width_per_group": 8, "stem_channels": 16},
        "heads/deeplab_v3_head": {"aspp_channels": 64, "norm": "BN"},
        "heads/deeplab_v3_plus_head": {"decoder": Factory(DeepLabDecoder, **_SMALL, project_channels=(8,))},
        "heads/sem_seg_fpn_head": {"conv_dim": 32},
        "models/semantic_segmentor": {"sem_seg_head": Factory(SemSegFPNHead, conv_dim=32)},
        "models/panoptic_fpn": {
            "num_things": 3,
            "num_stuff": 2,
            "proposal_generator": Factory(RPN, nms=ProposalNMS(pre_nms_topk_test=50, post_nms_topk_test=20)),
            "roi_heads": Factory(StandardROIHeads, box_head=Factory(FastRCNNConvFCHead, fc_dim=32)),
            "mask_head": Factory(MaskRCNNConvUpsampleHead, num_conv=1, conv_dim=8),
            "sem_seg_head": Factory(SemSegFPNHead, conv_dim=32),
        },
        "models/panoptic_deeplab": {
            "num_classes": 3,
            "things": (0, 1, 2),
            "sem_seg_head": Factory(PanopticDeepLabSemSegHead, **_BRANCH),
            "ins_embed_head": Factory(PanopticDeepLabInsEmbedHead, **_BRANCH),
        },
        "datasets/coco_panoptic": _coco_panoptic,
        "datasets/cityscapes_panoptic": _cityscapes_panoptic,
        "datasets/cityscapes_semantic": _cityscapes_semantic,
        "datasets/ade20k": _ade20k,
        "evaluators/stuff_iou": {"num_stuff": 2},
    },
    annotate=_with_segments,
)
