"""PointRend for semantic segmentation."""

import pytest
import torch
from det_core.backbones import FPN, ResNet
from det_core.contracts import SemanticHead
from det_core.errors import ConfigError
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Targets
from det_panoptic.semantic import SemanticSegmentor, SemSegFPNHead
from det_pointrend.layers import StandardPointHead
from det_pointrend.semantic import PointRendSemSegHead
from torch import nn

CHANNELS, STRIDES = {"p2": 4, "p3": 4}, {"p2": 4, "p3": 8}


def head(**options):
    torch.manual_seed(0)
    coarse = Factory(SemSegFPNHead, conv_dim=4, norm="")
    return PointRendSemSegHead(CHANNELS, STRIDES, 3, **{"coarse_head": coarse, "num_points": 64, **options})


def features():
    random = torch.Generator().manual_seed(1)
    return {n: torch.randn(2, 4, 32 // s, 48 // s, generator=random) for n, s in STRIDES.items()}


def say(model, *logits):
    with torch.no_grad():
        model.point_head.predictor.weight.zero_()
        model.point_head.predictor.bias.copy_(torch.tensor(logits))


def test_subdivision_refines_pixels_between_two_classes():
    model = head(subdivision_points=20)
    say(model, 0.0, 100.0, 0.0)
    with torch.no_grad():
        coarse = model.coarse_sem_seg_head(features())
        logits = model(features())
    assert isinstance(model, SemanticHead)
    assert logits.shape == coarse.shape == (2, 3, 32, 48)
    # 20 of the full size, and what interpolation spreads of the 20 before.
    decided = (logits[:, 1] == 100).flatten(1).sum(1)
    assert ((decided >= 20) & (decided < 200)).all()
    torch.testing.assert_close(head(subdivision_points=1)(features()).argmax(1), coarse.argmax(1), atol=1, rtol=0)


def test_subdivision_with_other_steps_matches_scores_of_all_pixels():
    assert head(subdivision_steps=1)(features()).shape == (2, 3, 32, 48)
    torch.testing.assert_close(head(subdivision_steps=0)(features()), head().coarse_sem_seg_head(features()))


def test_point_loss_is_mean_over_labelled_points():
    model = head()
    say(model, 0.0, 0.0, 0.0)
    left = torch.full((32, 48), 255)
    left[:, :24] = 2
    losses = model.losses(features(), [left, torch.zeros(20, 30, dtype=torch.int64)])
    assert set(losses) == {"loss_sem_seg", "loss_sem_seg_point"}
    torch.testing.assert_close(losses["loss_sem_seg_point"].item(), torch.tensor(3.0).log().item())
    say(model, 0.0, 0.0, 50.0)
    assert model.losses(features(), [left, left])["loss_sem_seg_point"] < 1e-5


def test_unlabelled_images_have_zero_losses_with_gradients_everywhere():
    model = head()
    losses = model.losses(features(), [torch.full((32, 48), 255)] * 2)
    sum(losses.values()).backward()
    assert all(loss == 0 for loss in losses.values())
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_segmentor_overfits_one_image():
    torch.manual_seed(0)
    pyramid = FPN(ResNet(18, stem_channels=8, res2_channels=8), out_channels=8)
    head = Factory(
        PointRendSemSegHead,
        coarse_head=Factory(SemSegFPNHead, conv_dim=32),
        point_head=Factory(StandardPointHead, fc_dim=16, coarse_each_layer=False),
        num_points=256,
    )
    segmentor = SemanticSegmentor(pyramid, 3, sem_seg_head=head)
    image, classes = torch.full((3, 64, 64), 40, dtype=torch.uint8), torch.zeros(64, 64, dtype=torch.int64)
    image[0, 10:40, 20:50], classes[10:40, 20:50] = 220, 1
    truth = Targets(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64), semantic=classes)
    optimizer = torch.optim.Adam(segmentor.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        sum(segmentor(ImageBatch.stack([image] * 2), [truth] * 2).values()).backward()
        optimizer.step()
    with torch.inference_mode():
        (found,) = segmentor.eval()(ImageBatch.stack([image]))
    assert (found.semantic.logits.argmax(0) == classes).float().mean() > 0.98


def test_semantic_head_exported_gives_eager_output():
    model = head(subdivision_points=50).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv1d):
            nn.init.normal_(module.weight)
    program = torch.export.export(model, (features(),))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(features()), model(features()))


def test_one_class_is_refused():
    with pytest.raises(ConfigError, match=r"num_classes: must be at least 2"):
        PointRendSemSegHead(CHANNELS, STRIDES, 1)
