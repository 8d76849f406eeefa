"""Anchors laid over feature maps."""

import pytest
import torch
from det_core.errors import ConfigError
from det_core.models import AnchorGenerator


def anchors(generator, *sizes):
    return generator([torch.zeros(1, 1, height, width) for height, width in sizes])


def test_anchor_of_ratio_2_is_twice_as_high():
    [level] = anchors(AnchorGenerator({"p2": 4}, sizes=[[8]], aspect_ratios=[[0.5, 1.0, 2.0]]), (1, 1))
    width, height = level[:, 2] - level[:, 0], level[:, 3] - level[:, 1]
    torch.testing.assert_close(height / width, torch.tensor([0.5, 1.0, 2.0]))
    torch.testing.assert_close(height * width, torch.full((3,), 64.0))
    torch.testing.assert_close(level[:, :2] + level[:, 2:], torch.zeros(3, 2))


@pytest.mark.parametrize(("offset", "first"), [(0.0, 0.0), (0.5, 4.0)])
def test_centres_run_along_rows_first_one_stride_apart(offset, first):
    [level] = anchors(AnchorGenerator({"p3": 8}, aspect_ratios=[[1.0]], offset=offset), (2, 3))
    centres = (level[:, :2] + level[:, 2:]) / 2 - first
    assert centres.tolist() == [[0, 0], [8, 0], [16, 0], [0, 8], [8, 8], [16, 8]]


def test_all_sizes_come_with_all_ratios_size_by_size():
    [level] = anchors(AnchorGenerator({"c4": 16}, sizes=[[32, 64]], aspect_ratios=[[1.0, 4.0]]), (1, 1))
    assert (level[:, 2] - level[:, 0]).tolist() == [32.0, 16.0, 64.0, 32.0]


def test_default_size_is_8_strides():
    generator = AnchorGenerator({"p2": 4, "p6": 64})
    assert generator.per_pixel == [3, 3]
    fine, coarse = anchors(generator, (1, 1), (1, 1))
    assert (fine[1].tolist(), coarse[1].tolist()) == ([-16, -16, 16, 16], [-256, -256, 256, 256])


def test_empty_map_has_no_anchors():
    assert anchors(AnchorGenerator({"p2": 4}), (0, 5))[0].shape == (0, 4)


def test_anchors_are_not_part_of_the_state_dict():
    assert not AnchorGenerator({"p2": 4}).state_dict()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sizes": [[8], [16], [32]]}, "sizes"),
        ({"aspect_ratios": [[]]}, "aspect_ratios"),
        ({"angles": [[0], [0], [0]]}, "angles"),
        ({"angles": [[]]}, "angles"),
        ({"offset": 1.0}, "offset"),
    ],
)
def test_options_that_do_not_fit_the_levels_are_refused(options, named):
    with pytest.raises(ConfigError, match=named):
        AnchorGenerator({"p2": 4, "p3": 8}, **options)


def test_rotated_anchors_share_centres_with_upright_ones():
    generator = AnchorGenerator({"p3": 8}, sizes=[[16]], aspect_ratios=[[1.0, 4.0]], angles=[[0, 30]], offset=0.5)
    assert (generator.per_pixel, generator.box_dim) == ([4], 5)
    (anchors,) = generator([torch.zeros(1, 1, 1, 2)])
    assert anchors[:4].tolist() == [[4, 4, 16, 16, 0], [4, 4, 16, 16, 30], [4, 4, 8, 32, 0], [4, 4, 8, 32, 30]]
    assert anchors[4].tolist() == [12, 4, 16, 16, 0]
    assert generator.state_dict() == {}


def test_angles_may_differ_by_level():
    generator = AnchorGenerator({"p2": 4, "p3": 8}, aspect_ratios=[[1.0]], angles=[[0], [-45, 45]])
    assert generator.per_pixel == [1, 2]
    assert [level[:, 4].tolist() for level in anchors(generator, (1, 1), (1, 1))] == [[0], [-45, 45]]
    assert anchors(generator, (0, 3), (0, 1))[0].shape == (0, 5)


def test_anchors_at_no_angle_are_the_upright_ones():
    options = {"sizes": [[8, 20]], "aspect_ratios": [[0.5, 3.0]], "offset": 0.5}
    [upright] = anchors(AnchorGenerator({"p2": 4}, **options), (3, 2))
    [turned] = anchors(AnchorGenerator({"p2": 4}, angles=[[0]], **options), (3, 2))
    torch.testing.assert_close(turned[:, :2] - turned[:, 2:4] / 2, upright[:, :2])
    torch.testing.assert_close(turned[:, :2] + turned[:, 2:4] / 2, upright[:, 2:])


def test_corners_may_be_rounded_as_torchvision_does():
    [level] = anchors(AnchorGenerator({"p2": 4}, sizes=[[32]], aspect_ratios=[[0.5]], rounded=True), (1, 1))
    assert level.tolist() == [[-23.0, -11.0, 23.0, 11.0]]  # half of 45.25 and of 22.63
