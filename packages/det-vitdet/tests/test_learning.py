"""A detector on a small transformer learns a picture by heart."""

import pytest
import torch
from det_core import recipes
from det_core.structures import ImageBatch, Targets


def picture():
    pixels = torch.zeros(1, 3, 96, 128, dtype=torch.uint8)
    pixels[0, 0, 20:60, 16:56] = 255
    pixels[0, 1, 30:80, 70:120] = 255
    boxes = torch.tensor([[16.0, 20.0, 56.0, 60.0], [70.0, 30.0, 120.0, 80.0]])
    return ImageBatch(pixels=pixels, sizes=((96, 128),)), [Targets(boxes=boxes, labels=torch.tensor([0, 1]))]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny_mvitv2_blood_cells", "tiny_vitdet_blood_cells"])
def test_it_finds_what_it_was_shown(name):
    torch.manual_seed(0)
    model = recipes.load(name).build_model()
    batch, targets = picture()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(150):
        optimizer.zero_grad()
        torch.stack(list(model.train()(batch, targets).values())).sum().backward()
        optimizer.step()
    with torch.inference_mode():
        (prediction,) = model.eval()(batch)
    found = prediction.detections
    best = {int(label): box for label, box in reversed(list(zip(found.labels, found.boxes, strict=True)))}
    for label, box in zip(targets[0].labels, targets[0].boxes, strict=True):
        assert (best[int(label)] - box).abs().max() < 5
