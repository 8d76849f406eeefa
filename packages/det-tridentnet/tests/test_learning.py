"""A small TridentNet learns pictures by heart, and what it is made of is exported."""

import pytest
import torch
from det_core.models import (
    RPN,
    AnchorGenerator,
    FastRCNNConvFCHead,
    ProposalNMS,
    RegionSampler,
    ROIPooler,
    StandardROIHeads,
)
from det_core.ops.boxes import iou
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Targets
from det_tridentnet.backbone import Branches, TridentResNet
from det_tridentnet.model import TridentRCNN
from torch import nn

BOXES = (((8.0, 8.0, 24.0, 24.0), (36.0, 20.0, 76.0, 60.0)), ((48.0, 6.0, 64.0, 22.0), (4.0, 26.0, 44.0, 62.0)))
"""Of two pictures, a small red square and a large green one each."""


def backbone():
    torch.manual_seed(0)
    return TridentResNet(
        50,
        branches=Branches(stage="res3"),
        out_features=["res3"],
        norm="GN",
        freeze_at=0,
        stem_channels=32,
        res2_channels=32,
        width_per_group=32,
    )


def model(**options):
    rpn = Factory(
        RPN,
        anchor_generator=Factory(AnchorGenerator, sizes=[[16, 40]], aspect_ratios=[[1.0]]),
        nms=ProposalNMS(post_nms_topk_train=30, post_nms_topk_test=30),
    )
    heads = Factory(
        StandardROIHeads,
        pooler=Factory(ROIPooler, resolution=7, sampling_ratio=2),
        sampler=RegionSampler(batch_size_per_image=32, positive_fraction=0.5),
        box_head=Factory(FastRCNNConvFCHead, num_fc=1, fc_dim=64),
    )
    return TridentRCNN(backbone(), 2, proposal_generator=rpn, roi_heads=heads, **options)


def pictures():
    pixels = torch.full((2, 3, 64, 80), 60, dtype=torch.uint8)
    for picture, own in zip(pixels, BOXES, strict=True):
        for channel, (x0, y0, x1, y1) in enumerate(own):
            picture[channel, int(y0) : int(y1), int(x0) : int(x1)] = 230
    targets = [Targets(boxes=torch.tensor(own), labels=torch.tensor([0, 1])) for own in BOXES]
    return ImageBatch(pixels=pixels, sizes=((64, 80),) * 2), targets


def learnt(network: nn.Module, steps: int) -> nn.Module:
    batch, targets = pictures()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.stack(list(network.train()(batch, targets).values())).sum().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"fast": False, "valid_ranges": ((0.0, 24.0), (10.0, 60.0), (24.0, None))}])
def test_trident_rcnn_overfits_training_images(options):
    (batch, targets), network = pictures(), learnt(model(**options), steps=100)
    with torch.inference_mode():
        found = [each.detections for each in network(batch)]
    for own, truth in zip(found, targets, strict=True):
        for label, box in zip(truth.labels, truth.boxes, strict=True):
            sure = own[(own.labels == label) & (own.scores > 0.5)]
            assert len(sure) > 0
            assert iou(sure.boxes, box[None]).max() > 0.5


@pytest.mark.parametrize("branches", [None, [0, 1, 2]])
def test_backbone_exported_gives_eager_output_at_any_size(branches):
    network = backbone().eval()
    batch, height, width = torch.export.Dim("batch", min=1, max=8), *map(torch.export.Dim, ("height", "width"))
    shapes = {"pixels": {0: batch, 2: 8 * height, 3: 8 * width}, "branches": None if branches is None else [None] * 3}
    program = torch.export.export(network, (torch.randn(2, 3, 64, 80), branches), dynamic_shapes=shapes)
    for size in ((2, 3, 64, 80), (1, 3, 96, 72)):
        pixels = torch.randn(size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            torch.testing.assert_close(program.module()(pixels, branches), network(pixels, branches))
