"""Points: hand-worked places and values, and what is drawn where a coarse answer is uncertain."""

import pytest
import torch
from det_core.errors import ConfigError
from det_pointrend import points
from torch.nn import functional as F

BOXES = torch.tensor([[2.0, 4, 10, 8], [0, 0, 16, 12]])


def test_sample_interpolates_cell_centres_and_is_zero_outside():
    ramp = torch.arange(4.0).reshape(1, 1, 1, 4).expand(1, 1, 2, 4)
    # Centres lie at shares 1/8, 3/8, 5/8 and 7/8 of the width.
    places = torch.tensor([[[3 / 8, 0.5], [0.5, 0.5], [7 / 8, 0.25], [2.0, 0.5]]])
    assert points.at_points(ramp, places).tolist() == [[[1.0, 1.5, 3.0, 0.0]]]


def test_sample_of_half_precision_map_keeps_point_precision():
    wide = torch.arange(1024).to(torch.bfloat16).reshape(1, 1, 1, 1024).expand(1, 1, 2, 1024)
    seen = points.at_points(wide, torch.tensor([[[513.5 / 1024, 0.5]]]))
    assert seen.dtype == torch.bfloat16
    assert abs(seen.item() - 513) <= 4  # of bfloat16's own steps


def test_grid_gives_cell_centres_row_by_row():
    assert points.grid(2, BOXES).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


def test_shares_of_boxes_and_pixels_lead_to_each_other():
    shares = torch.tensor([[[0.5, 0.25]], [[0.5, 0.25]]])
    pixels = points.points_in_image(BOXES, shares)
    assert pixels.tolist() == [[[6, 5]], [[8, 3]]]
    assert torch.equal(points.shares_of_box(BOXES, pixels), shares)


def features():
    random = torch.Generator().manual_seed(0)
    return {"p2": torch.randn(2, 3, 8, 8, generator=random), "p3": torch.randn(2, 2, 4, 4, generator=random)}


def read(names):
    return points.PointFeatures("test", {"p2": 3, "p3": 2}, {"p2": 4, "p3": 8}, names)


def test_sample_levels_uses_image_coordinates_per_box():
    level = features()
    seen = read(["p2", "p3"])(level, [BOXES[:1], BOXES[1:]], torch.tensor([[[0.5, 0.5]], [[0.25, 1 / 6]]]))
    assert seen.shape == (2, 5, 1)
    # (6, 6) is the centre of cell (1, 1) of p2; (4, 2) lies between cells 0 and 1 of row 0.
    torch.testing.assert_close(seen[0, :3, 0], level["p2"][0, :, 1, 1])
    torch.testing.assert_close(seen[1, :3, 0], level["p2"][1, :, 0, :2].mean(1))


def test_sample_batch_equals_single_images():
    level, shares = features(), torch.rand(3, 7, 2)
    both = read(["p2", "p3"])(level, [BOXES, BOXES[:1]], shares)
    for image, boxes, rows in ((0, BOXES, slice(0, 2)), (1, BOXES[:1], slice(2, 3))):
        alone = {name: value[image : image + 1] for name, value in level.items()}
        torch.testing.assert_close(read(["p2", "p3"])(alone, [boxes], shares[rows]), both[rows])


def test_images_without_boxes_have_no_points():
    assert read(["p2"])(features(), [BOXES[:0], BOXES[:0]], torch.zeros(0, 5, 2)).shape == (0, 3, 5)
    assert read(["p2"])(features(), [BOXES[:0], BOXES], torch.rand(2, 5, 2)).shape == (2, 3, 5)


def test_sample_uses_finest_level_by_default():
    assert (read(None).names, read(None).channels) == (("p2",), 3)


@pytest.mark.parametrize("names", [[], ["p9"]])
def test_levels_that_are_not_there_are_refused(names):
    with pytest.raises(ConfigError, match="must name levels of the backbone"):
        read(names)


def test_sample_of_mask_is_bilinear():
    random = torch.Generator().manual_seed(0)
    masks = torch.rand(3, 9, 7, generator=random) < 0.5
    places = torch.rand(3, 50, 2, generator=random) * torch.tensor([9.0, 11]) - 1  # some lie outside
    grid = places / torch.tensor([7.0, 9]) * 2 - 1
    expected = F.grid_sample(masks[:, None].float(), grid[:, :, None], align_corners=False)[:, 0, :, 0]
    torch.testing.assert_close(points.masks_at(masks, places), expected)


def uncertainty(values):
    return -values[:, 0].abs()


def test_importance_sampling_prefers_logits_near_zero():
    torch.manual_seed(0)
    logits = torch.linspace(-8, 8, 16).expand(4, 1, 16, 16)  # 0 in the middle, from left to right
    drawn = points.sample_uncertain_points(logits, uncertainty, 100, 3.0, 0.75)
    assert drawn.shape == (4, 100, 2)
    assert ((drawn >= 0) & (drawn < 1)).all()
    certainty = points.at_points(logits, drawn)[:, 0].abs()
    assert (certainty[:, :75].amax(1) < 3).all()  # 75 of 300 even ones: an eighth to either side, and a rim
    assert (certainty[:, 75:].amin(1) > certainty[:, :75].amax(1)).all()


def test_importance_ratio_zero_is_uniform_and_one_most_uncertain():
    torch.manual_seed(0)
    logits = torch.linspace(-8, 8, 16).expand(1, 1, 16, 16)
    even = points.sample_uncertain_points(logits, uncertainty, 400, 1.0, 0.0)
    assert (even[0, :, 0] - 0.5).abs().mean().item() == pytest.approx(0.25, abs=0.03)
    assert points.sample_uncertain_points(logits, uncertainty, 40, 10.0, 1.0)[0, :, 0].sub(0.5).abs().max() < 0.1
    assert points.sample_uncertain_points(logits[:0], uncertainty, 40, 3.0, 0.75).shape == (0, 40, 2)


def test_most_uncertain_cells_are_given_by_index_and_centre():
    values = torch.tensor([[[0.0, 5, 1], [4, 2, 3]]])
    places, centres = points.most_uncertain_cells(values, 2)
    assert places.tolist() == [[1, 3]]
    torch.testing.assert_close(centres, torch.tensor([[[1 / 2, 1 / 4], [1 / 6, 3 / 4]]]))
    assert points.most_uncertain_cells(values, 100)[0].sort().values.tolist() == [[0, 1, 2, 3, 4, 5]]
