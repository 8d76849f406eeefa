"""Masks in the squares of regions, and back in the image."""

import pytest
import torch
from det_core.ops import masks as mask_ops
from det_core.ops.masks import MasksInImage, crop_masks, in_image, paste_masks, rasterize
from det_core.structures import MaskGrids, Polygons

SQUARE = [2.0, 1.0, 6.0, 1.0, 6.0, 3.0, 2.0, 3.0]
FAR = [6.0, 6.0, 8.0, 6.0, 8.0, 8.0, 6.0, 8.0]


def filled(size, *boxes):
    mask = torch.zeros(size, dtype=torch.bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def test_polygons_cover_the_pixels_inside_of_all_their_rings():
    drawn = rasterize(Polygons.of([[SQUARE], [SQUARE, FAR], []]), (8, 10))
    assert drawn.dtype == torch.bool
    assert torch.equal(drawn[0], filled((8, 10), (2, 1, 6, 3)))
    assert torch.equal(drawn[1], filled((8, 10), (2, 1, 6, 3), (6, 6, 8, 8)))
    assert not drawn[2].any()


def test_crop_of_polygon_covers_part_in_box():
    boxes = torch.tensor([[2.0, 1.0, 6.0, 3.0], [2.0, 1.0, 10.0, 5.0], [6.0, 4.0, 9.0, 8.0]])
    whole, quarter, nothing = crop_masks(Polygons.of([[SQUARE], [SQUARE], [SQUARE]]), boxes, 8)
    assert whole.all()
    assert torch.equal(quarter, filled((8, 8), (0, 0, 4, 4)))
    assert not nothing.any()


def test_crop_of_bitmap_covers_part_in_box():
    masks = filled((8, 12), (2, 1, 6, 3)).repeat(3, 1, 1)
    boxes = torch.tensor([[1.0, 0.0, 9.0, 8.0], [1.4, 0.4, 9.4, 8.4], [6.0, 0.0, 14.0, 8.0]])
    exact, rounded, nothing = crop_masks(masks, boxes, 8)
    assert torch.equal(exact, filled((8, 8), (1, 1, 5, 3)))
    exact[2, 4] = False  # 0.6 * 0.6 of the cell at that corner is less than a half
    assert torch.equal(rounded, exact)
    assert not nothing.any()


@pytest.mark.parametrize("box", [[3.0, 1.0, 3.0, 3.0], [4.0, 2.0, 4.0, 2.0]])
def test_crop_of_box_without_width_gives_mask(box):
    boxes = torch.tensor([box])
    assert crop_masks(Polygons.of([[SQUARE]]), boxes, 8).shape == (1, 8, 8)
    assert crop_masks(rasterize(Polygons.of([[SQUARE]]), (8, 10)), boxes, 8).shape == (1, 8, 8)


def test_crop_in_chunks_equals_whole(monkeypatch):
    masks = torch.rand(7, 12, 10, generator=torch.Generator().manual_seed(0)) > 0.5
    boxes = torch.tensor([[1.0, 2.0, 8.0, 9.0]]).repeat(7, 1)
    together = crop_masks(masks, boxes, 6)
    monkeypatch.setattr(mask_ops, "_CHUNK", 250)
    assert torch.equal(crop_masks(masks, boxes, 6), together)


def test_paste_of_full_mask_fills_box():
    boxes = torch.tensor([[2.0, 1.0, 6.0, 3.0], [0.0, 0.0, 10.0, 8.0]])
    pasted = paste_masks(torch.ones(2, 4, 4), boxes, (8, 10))
    assert pasted.dtype == torch.bool
    assert torch.equal(pasted[0], filled((8, 10), (2, 1, 6, 3)))
    assert pasted[1].all()


def test_half_a_mask_fills_half_its_box():
    mask = torch.zeros(1, 4, 4)
    mask[:, :, 2:] = 1
    assert torch.equal(paste_masks(mask, torch.tensor([[0.0, 0, 8, 8]]), (8, 10))[0], filled((8, 10), (4, 0, 8, 8)))


def test_paste_of_empty_or_outside_box_is_clipped():
    boxes = torch.tensor([[3.0, 3.0, 3.0, 6.0], [-4.0, -2.0, 2.0, 3.0], [20.0, 20.0, 30.0, 30.0]])
    empty, cut, outside = paste_masks(torch.ones(3, 4, 4), boxes, (8, 10))
    assert not empty.any()
    assert torch.equal(cut, filled((8, 10), (0, 0, 2, 3)))
    assert not outside.any()


def test_no_mask_is_pasted_to_no_mask():
    assert paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (8, 10)).shape == (0, 8, 10)
    assert crop_masks(torch.zeros(0, 8, 10, dtype=torch.bool), torch.zeros(0, 4), 28).shape == (0, 28, 28)
    assert crop_masks(Polygons.of([]), torch.zeros(0, 4), 28).shape == (0, 28, 28)
    assert rasterize(Polygons.of([]), (8, 10)).shape == (0, 8, 10)


def test_in_image_yields_chunks_for_every_mask_format(monkeypatch):
    monkeypatch.setattr(mask_ops, "_CHUNK", 200)
    polygons = Polygons.of([[SQUARE]] * 5)
    boxes = torch.tensor([[2.0, 1.0, 6.0, 3.0]]).repeat(5, 1)
    for masks in (polygons, rasterize(polygons, (8, 10)), torch.ones(5, 4, 4)):
        chunks = list(in_image(masks, boxes, (8, 10)))
        assert [len(chunk) for chunk in chunks] == [2, 2, 1]
        assert all(torch.equal(mask, filled((8, 10), (2, 1, 6, 3))) for mask in torch.cat(chunks))
    assert list(in_image(torch.zeros(0, 4, 4), boxes[:0], (8, 10))) == []


def test_tight_box_encloses_visible_part_of_polygon():
    rings = [
        [[-4.0, 2.0, 4.0, 2.0, 4.0, 4.0, -4.0, 4.0]],  # reaches out on the left
        [[-5.0, -5.0, 20.0, -5.0, 20.0, 20.0, -5.0, 20.0]],  # holds the whole image
        [[12.0, 0.0, 20.0, 0.0, 20.0, 8.0]],  # lies outside
        [[8.0, -4.0, 16.0, -4.0, 16.0, 8.0]],  # cuts the upper right corner off: its long side is y = 1.5 x - 16
        [[2.0, 1.0, 6.0, 1.0, 4.0, 3.0], [7.0, 5.0, 20.0, 5.0, 20.0, 6.0, 7.0, 6.0]],  # two rings
        [[-6.0, 2.0, -1.0, 9.0, 3.0, 12.0, -6.0, 12.0]],  # passes the lower left corner without touching it
        [],
    ]
    boxes = torch.full((7, 4), 9.0)
    tight = mask_ops.tight_boxes(Polygons.of(rings), boxes, (8, 10))
    expected = [
        [0.0, 2.0, 4.0, 4.0],
        [0.0, 0.0, 10.0, 8.0],
        [0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
        [2.0, 1.0, 10.0, 6.0],
        [0.0, 0.0, 0.0, 0.0],
        [9.0, 9.0, 9.0, 9.0],
    ]
    assert tight.tolist() == expected
    wider = mask_ops.tight_boxes(Polygons.of([rings[3]]), boxes[:1], (8, 12))
    torch.testing.assert_close(wider, torch.tensor([[8 + 4 / 1.5, 0.0, 12.0, 2.0]]))


def test_tight_box_encloses_pixels_of_bitmap():
    masks = torch.stack([filled((8, 10), (2, 1, 6, 3), (7, 5, 8, 8)), filled((8, 10))])
    boxes = mask_ops.tight_boxes(masks, torch.ones(2, 4), (8, 10))
    assert boxes.tolist() == [[2, 1, 8, 8], [0, 0, 0, 0]]
    assert boxes.dtype == torch.float32
    assert mask_ops.tight_boxes(masks[:0], torch.ones(0, 4), (8, 10)).shape == (0, 4)


def test_tight_boxes_of_random_polygons_match_rasterized_pixels():
    generator = torch.Generator().manual_seed(0)
    size, scale = (30, 40), 8
    for _ in range(40):
        angles, centre = torch.arange(8) * torch.pi / 4, torch.rand(2, generator=generator) * 50 - 5
        radii = torch.rand(8, 1, generator=generator) * 6 + 14
        ring = centre + radii * torch.stack((angles.cos(), angles.sin()), 1)
        (tight,) = mask_ops.tight_boxes(Polygons.of([[ring.flatten().tolist()]]), torch.zeros(1, 4), size)
        # Drawn on a fine grid, of which a sharp corner may miss a cell or two.
        x, y = (torch.arange(scale * side).add(0.5).div(scale) for side in (size[1], size[0]))
        following = ring.roll(-1, 0)
        inside = torch.zeros(len(y), len(x), dtype=torch.bool)
        for (x0, y0), (x1, y1) in zip(ring.tolist(), following.tolist(), strict=True):
            crosses = ((y0 > y) != (y1 > y))[:, None]
            inside ^= crosses & (x < (x0 + (y - y0) * (x1 - x0) / (y1 - y0))[:, None])
        (drawn,) = mask_ops.tight_boxes(inside[None], torch.zeros(1, 4), size) / scale
        if inside.any():
            torch.testing.assert_close(tight, drawn, atol=3 / scale, rtol=0)


def test_masks_in_image_are_rendered_on_access():
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [2.0, 1.0, 9.0, 7.0], [5.0, 2.0, 10.0, 8.0]])
    small = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))
    drawn = paste_masks(small, boxes, (8, 10))
    masks = MasksInImage(small, boxes, (8, 10))
    assert len(masks) == 3
    assert torch.equal(torch.stack(list(masks)), drawn)
    assert torch.equal(masks.stacked(), drawn)
    assert torch.equal(masks[-1], drawn[2])
    assert torch.equal(masks[1:].stacked(), drawn[1:])
    with pytest.raises(IndexError):
        masks[3]
    assert torch.equal(MasksInImage(drawn, boxes, (8, 10))[1], drawn[1])
    assert MasksInImage(small[:0], boxes[:0], (8, 10)).stacked().shape == (0, 8, 10)


def test_grids_are_pasted_into_their_windows():
    grids = (torch.ones(4, 4), torch.ones(2, 2))
    masks = MaskGrids(grids=grids, windows=torch.tensor([[2.0, 1.0, 6.0, 5.0], [6.0, 4.0, 14.0, 12.0]]))
    elsewhere = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(2, 1)
    pasted = paste_masks(masks, elsewhere, (8, 10))
    assert torch.equal(pasted[0], filled((8, 10), (2, 1, 6, 5)))
    reaching_out = filled((8, 10), (6, 4, 10, 8))
    reaching_out[4, 6] = False  # 0.625 * 0.625 at the corner is less than a half
    assert torch.equal(pasted[1], reaching_out)
    assert torch.equal(torch.cat(list(in_image(masks, elsewhere, (8, 10)))), pasted)
    assert torch.equal(MasksInImage(masks, elsewhere, (8, 10))[1], pasted[1])
