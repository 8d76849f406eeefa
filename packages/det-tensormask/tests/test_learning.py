"""A small TensorMask learns pictures by heart, and what it is made of is exported."""

import pytest
import torch
from det_core.backbones import FPN, ResNet
from det_core.models import DenseDetector
from det_core.ops.masks import paste_masks
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Targets
from det_tensormask.head import MaskWindows, Subnets, TensorMaskHead
from torch import nn

SIZE = (64, 80)


def model():
    torch.manual_seed(0)
    bottom_up = ResNet(
        18, out_features=["res2", "res3"], norm="BatchStatBN", freeze_at=0, stem_channels=16, res2_channels=16
    )
    head = Factory(
        TensorMaskHead,
        masks=MaskWindows(windows=(5, 9)),
        subnets=Subnets(num_convs=1, class_channels=24, box_channels=24, mask_channels=24),
    )
    return DenseDetector(FPN(bottom_up, out_channels=24, top=None), head=head, num_classes=2)


def disc(x, y, radius):
    rows, columns = torch.arange(SIZE[0])[:, None] + 0.5, torch.arange(SIZE[1]) + 0.5
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


def pictures():
    """Two pictures of a small red disc and a large green one each."""
    pixels, targets = torch.full((2, 3, *SIZE), 60, dtype=torch.uint8), []
    for picture, discs in zip(pixels, (((16, 16, 8), (54, 38, 20)), ((60, 14, 8), (24, 40, 20))), strict=True):
        masks = torch.stack([disc(*each) for each in discs])
        picture[:2][masks] = 230
        boxes = torch.tensor([[x - r, y - r, x + r, y + r] for x, y, r in discs]).float()
        targets.append(Targets(boxes=boxes, labels=torch.tensor([0, 1]), masks=masks))
    return ImageBatch(pixels=pixels, sizes=(SIZE,) * 2), targets


@pytest.mark.slow
def test_tensormask_overfits_training_images():
    network, (batch, targets) = model(), pictures()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(150):
        optimizer.zero_grad()
        torch.stack(list(network.train()(batch, targets).values())).sum().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
    with torch.inference_mode():
        found = [each.detections for each in network.eval()(batch)]
    for own, truth in zip(found, targets, strict=True):
        for label, mask in zip(truth.labels, truth.masks, strict=True):
            best = own[own.labels == label][:1]
            assert len(best) == 1
            drawn = paste_masks(best.masks, best.boxes, SIZE)[0]
            assert (drawn & mask).sum() / (drawn | mask).sum() > 0.5


class Dense(nn.Module):
    """What comes before detections are chosen."""

    def __init__(self, detector):
        super().__init__()
        self.backbone, self.head = detector.backbone, detector.head

    def forward(self, pixels):
        return self.head(self.backbone(pixels))


def test_backbone_and_head_exported_give_eager_outputs():
    dense = Dense(model()).eval()
    program = torch.export.export(dense, (torch.randn(1, 3, *SIZE),))
    pixels = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(tuple(program.module()(pixels)), tuple(dense(pixels)))
