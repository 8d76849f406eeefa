"""The colours that semantic models are trained with."""

import pytest
import torch
from det_core.data import compose
from det_core.errors import ConfigError
from det_core.structures import Sample, Targets
from det_pointrend.colors import ColorDistortion

GREY = torch.full((3, 4, 4), 100, dtype=torch.uint8)


def draw(**options):
    nothing = {"brightness": 0.0, "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": 0.0}
    transform = compose([ColorDistortion(**{**nothing, **options})])
    semantic = torch.arange(16).reshape(4, 4)
    targets = Targets(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64), semantic=semantic)
    samples = [transform(Sample(image=GREY, targets=targets)) for _ in range(200)]
    assert all(torch.equal(sample.targets.semantic, semantic) for sample in samples)
    return torch.stack([sample.image for sample in samples]).float()


def test_brightness_shifts_half_of_images():
    torch.manual_seed(0)
    seen = draw(brightness=32.0)
    assert 60 < (seen == 100).flatten(1).all(1).sum() < 140
    assert (seen >= 68).all()
    assert (seen <= 132).all()
    assert seen.max() > 120


def test_contrast_scales_half_of_images():
    torch.manual_seed(0)
    seen = draw(contrast=(0.5, 1.5))
    assert (seen.min() < 60, seen.max() > 140) == (True, True)
    assert (seen >= 50).all()
    assert (seen <= 150).all()


def test_grey_has_neither_saturation_nor_hue():
    assert (draw(saturation=(0.5, 1.5), hue=0.1) - 100).abs().max() <= 1


def test_colour_transform_with_invalid_arguments_is_refused():
    with pytest.raises(ConfigError, match=r"a hue up to 0\.5"):
        ColorDistortion(hue=0.7)
