"""A detector on a small transformer learns a picture by heart; in half precision and with blocks computed again too."""

import pytest
import torch
from det_core import recipes
from det_core.engine import WarmupCosine
from det_core.ops.boxes import iou
from det_core.structures import ImageBatch, Targets

NETWORKS = {
    "tiny_mvitv2_blood_cells": "bottom_up",
    "tiny_swin_blood_cells": "bottom_up",
    "tiny_vitdet_blood_cells": "net",
}


def picture():
    pixels = torch.zeros(1, 3, 96, 128, dtype=torch.uint8)
    pixels[0, 0, 20:60, 16:56] = 255
    pixels[0, 1, 30:80, 70:120] = 255
    boxes = torch.tensor([[16.0, 20.0, 56.0, 60.0], [70.0, 30.0, 120.0, 80.0]])
    return ImageBatch(pixels=pixels, sizes=((96, 128),)), [Targets(boxes=boxes, labels=torch.tensor([0, 1]))]


def learn(name, *, steps, half=False, again=False):
    """The model after a training, and the sum of the losses of each step."""
    torch.manual_seed(0)
    network = f"model.backbone.{NETWORKS[name]}"
    model = recipes.load(name, [f"{network}.activation_checkpointing={str(again).lower()}"]).build_model().train()
    batch, targets = picture()
    optimizer = torch.optim.AdamW(model.parameters())
    schedule, sums = WarmupCosine(steps=steps, warmup=steps // 10), []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-3 * schedule(step)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            total = torch.stack(list(model(batch, targets).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        sums.append(total.item())
    return model, sums


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_vitdet_overfits_training_images(name):
    model, sums = learn(name, steps=150)
    assert sum(sums[-5:]) / 5 < sums[0] / 3
    batch, targets = picture()
    with torch.inference_mode():
        (prediction,) = model.eval()(batch)
    found = prediction.detections
    overlaps = iou(targets[0].boxes, found.boxes)
    for label, overlap in zip(targets[0].labels, overlaps, strict=True):
        best = found.scores.where(found.labels == label, -1.0).argmax()
        assert found.labels[best] == label
        assert overlap[best] > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_training_in_half_precision_starts_from_full_precision_weights(name):
    _, (full,) = learn(name, steps=1)
    _, halves = learn(name, steps=20, half=True)
    assert halves[0] == pytest.approx(full, rel=0.05)
    assert sum(halves[-3:]) / 3 < 0.8 * full


@pytest.mark.parametrize("name", NETWORKS)
def test_it_learns_the_same_where_blocks_are_computed_again(name):
    _, kept = learn(name, steps=2)
    _, again = learn(name, steps=2, again=True)
    assert again == pytest.approx(kept, rel=1e-4)
