"""det's own checks of a plugin, a test each."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import panoptic_files
import torch
from det_core.config import Factory
from det_core.models import FastRCNNConvFCHead, StandardROIHeads
from det_core.structures import Targets
from det_core.testing import conformance
from det_core.testing.evaluators import panoptic_map
from det_panoptic.panoptic_deeplab import PanopticDeepLabInsEmbedHead, PanopticDeepLabSemSegHead
from det_panoptic.truth import IDS, SEGMENTS, SegmentIds
from PIL import Image

SMALL = {"decoder_channels": 8, "aspp_channels": 8, "norm": "BN"}
BRANCH = {**SMALL, "in_features": ("p2", "p3", "p5"), "project_channels": (8, 8), "head_channels": 8}


def with_segments(truth: Targets) -> Targets:
    """Segments of what the kit's pictures show."""
    found = panoptic_map(truth)
    if found is None:
        return truth
    rows = [(each["label"], int(each["is_thing"]), 0) for each in found.segments]
    segments = torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)
    return replace(truth, image_extras={IDS: found.ids.as_subclass(SegmentIds), SEGMENTS: segments})


def label_images(images: Path, labels: Path, highest: int) -> None:
    for folder in (images, labels):
        folder.mkdir(parents=True)
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(images / "a_leftImg8bit.png")
    values = np.arange(600).reshape(20, 30) % (highest + 1)
    for name in ("a_leftImg8bit.png", "a_gtFine_labelIds.png"):
        Image.fromarray(values.astype(np.uint8)).save(labels / name)


def ade20k(folder: Path) -> dict[str, Path]:
    label_images(folder / "images", folder / "labels", 150)
    return {"images": folder / "images", "labels": folder / "labels"}


def cityscapes_semantic(folder: Path) -> dict[str, Path]:
    label_images(folder / "images", folder / "labels", 33)
    return {"images": folder / "images", "annotations": folder / "labels"}


def cityscapes_panoptic(folder: Path) -> dict[str, Path]:
    given = panoptic_files.write(folder)
    for number in (1, 2, 3):
        place = given["images"] / str(number)
        place.mkdir()
        (given["images"] / f"{number - 1}.png").rename(place / f"{number}_leftImg8bit.png")
    return given


test_conformance = conformance(
    "det-panoptic",
    examples={
        "heads/deeplab_v3_head": {"aspp_channels": 8, "norm": "BN"},
        "heads/deeplab_v3_plus_head": {**SMALL, "project_channels": (8,)},
        "models/panoptic_fpn": {
            "num_things": 3,
            "num_stuff": 2,
            "roi_heads": Factory(StandardROIHeads, box_head=Factory(FastRCNNConvFCHead, fc_dim=32)),
        },
        "models/panoptic_deeplab": {
            "num_classes": 3,
            "things": (0, 1, 2),
            "sem_seg_head": Factory(PanopticDeepLabSemSegHead, **BRANCH),
            "ins_embed_head": Factory(PanopticDeepLabInsEmbedHead, **BRANCH),
        },
        "datasets/coco_panoptic": lambda folder: {**panoptic_files.write(folder), "masks": True},
        "datasets/cityscapes_panoptic": cityscapes_panoptic,
        "datasets/cityscapes_semantic": cityscapes_semantic,
        "datasets/ade20k": ade20k,
        "evaluators/stuff_iou": {"num_stuff": 2},
    },
    truth=with_segments,
)
