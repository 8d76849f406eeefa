"""Losses: hand-worked numbers first, then properties. Equality with the published ones: tests/parity."""

import math

import pytest
import torch
from det_core.errors import ConfigError, StructureError
from det_core.recipes import Factory
from det_core.structures import Polygons, Targets
from det_densepose.losses import (
    ChartWeights,
    CoarseLossFromMasks,
    CoarseLossFromParts,
    CseWeights,
    DensePoseChartLoss,
    DensePoseCseLoss,
    EmbeddingLoss,
    PixToShapeCycleLoss,
    Regions,
    ShapeToShapeCycleLoss,
    SoftEmbeddingLoss,
)
from det_densepose.losses.charts import iid_iso_loss, indep_aniso_loss
from det_densepose.losses.coarse import instance_masks, resample_parts
from det_densepose.losses.geodesics import Geodesics
from det_densepose.losses.points import cells_at_points
from det_densepose.structures import COARSE, FRAME, MESH, POINTS, SURFACE, UNKNOWN, Mesh, mesh_id

BOX = [10.0, 20.0, 18.0, 28.0]


def objects(points, surface, coarse=None, masks=None, mesh=-1):
    """Objects with the box BOX, one row of points each."""
    count = len(points)
    extras = {
        POINTS: torch.tensor(points, dtype=torch.float32).reshape(count, -1, 2),
        SURFACE: torch.tensor(surface, dtype=torch.float32).reshape(count, -1, 4),
        MESH: torch.full((count,), mesh),
    }
    x0, y0, x1, y1 = BOX
    if coarse is not None:
        extras |= {COARSE: coarse, FRAME: torch.tensor([[[x0, y0], [x1, y0], [x0, y1]]]).expand(count, 3, 2)}
    boxes = torch.tensor([BOX]).expand(count, 4)
    return Targets(boxes=boxes, labels=torch.zeros(count, dtype=torch.int64), masks=masks, extras=extras)


def regions(*targets):
    return Regions([own.boxes for own in targets], list(targets))


def charts(count=1, side=4, **changes):
    outputs = {
        "coarse_segm": torch.zeros(count, 2, side, side),
        "fine_segm": torch.zeros(count, 3, side, side),
        "u": torch.zeros(count, 3, side, side),
        "v": torch.zeros(count, 3, side, side),
        **changes,
    }
    return {name: value.requires_grad_() for name, value in outputs.items()}


def parts(value=0):
    return torch.full((1, 256, 256), value, dtype=torch.uint8)


def test_cells_at_points_start_at_left_and_upper_edge():
    # A box of 8 pixels with 4 cells: pixel 3 is 1.5 cells in.
    cells = cells_at_points(torch.tensor([BOX]), torch.tensor([[[13.0, 20.0], [17.9, 27.9]]]), 4)
    assert cells.x_low.tolist() == [1, 3]
    assert cells.x_high.tolist() == [2, 3]
    assert cells.x_share[0] == 0.5
    assert cells.x_share[1] == 0  # the last column has no neighbor
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    torch.testing.assert_close(cells.read(ramp)[:, 0], torch.tensor([1.5, 3.0]))


@pytest.mark.parametrize(
    ("point", "valid"), [((10, 20), True), ((18, 24), False), ((9.9, 24), False), ((17.9, 27), True)]
)
def test_cells_at_points_exclude_right_and_lower_edge(point, valid):
    cells = cells_at_points(torch.tensor([BOX]), torch.tensor([[point]], dtype=torch.float32), 4)
    assert cells.valid.tolist() == [valid]


def test_chart_loss_of_one_point_is_the_worked_sum():
    outputs = charts(u=torch.full((1, 3, 4, 4), 0.5), v=torch.full((1, 3, 4, 4), 3.0))
    truth = objects([[[13, 23]]], [[[2, 0.25, 1.0, -1]]], parts(1))
    losses = DensePoseChartLoss(ChartWeights(1, 1, 1))(outputs, regions(truth))
    assert losses["loss_densepose_U"].item() == pytest.approx(0.5 * 0.25**2)
    assert losses["loss_densepose_V"].item() == pytest.approx(2 - 0.5)
    assert losses["loss_densepose_I"].item() == pytest.approx(math.log(3))
    assert losses["loss_densepose_S"].item() == pytest.approx(math.log(2))


def test_chart_loss_sums_coordinates_and_averages_parts():
    truth = objects([[[13, 23]]], [[[2, 1, 1, -1]]], parts())
    twice = objects([[[13, 23]] * 2], [[[2, 1, 1, -1]] * 2], parts())
    one, two = (DensePoseChartLoss()(charts(), regions(each)) for each in (truth, twice))
    torch.testing.assert_close(two["loss_densepose_U"], 2 * one["loss_densepose_U"])
    torch.testing.assert_close(two["loss_densepose_I"], one["loss_densepose_I"])


def test_chart_loss_of_background_points_trains_part_only():
    both = objects([[[13, 23], [14, 24]]], [[[2, 0, 0, -1], [0, 1, 1, -1]]], parts())
    outputs = charts()
    losses = DensePoseChartLoss()(outputs, regions(both))
    assert losses["loss_densepose_U"] == 0
    losses["loss_densepose_I"].backward()
    assert outputs["fine_segm"].grad[:, 0].min() < 0  # pulled up by the background point


def test_chart_loss_without_valid_points_is_zero_with_gradient():
    outside = objects([[[40, 40]]], [[[2, 1, 1, -1]]], parts())
    for spread in ((), ("sigma_2",), ("sigma_2", "kappa_u", "kappa_v")):
        outputs = charts(**{name: torch.zeros(1, 3, 4, 4) for name in spread})
        losses = DensePoseChartLoss()(outputs, regions(outside))
        assert all(value == 0 for value in losses.values())
        torch.stack(list(losses.values())).sum().backward()
        assert all(value.grad is not None for value in outputs.values())


def test_chart_loss_without_regions_is_zero():
    outputs = charts(count=0)
    none = regions(objects([[[13, 23]]], [[[2, 1, 1, -1]]], parts())[:0])
    losses = DensePoseChartLoss()(outputs, none)
    assert {name.rpartition("_")[2] for name in losses} == {"U", "V", "I", "S"}
    torch.stack(list(losses.values())).sum().backward()


def test_iid_iso_loss_is_the_published_formula():
    loss = iid_iso_loss(torch.tensor([[3.0, 4.0]]), torch.tensor([2.0]))
    assert loss.item() == pytest.approx(0.5 * (math.log(2 * math.pi) + 2 * math.log(2) + 25 / 2))


def test_indep_aniso_loss_is_the_gaussian_with_that_covariance():
    delta, variance, kappa = torch.tensor([[1.0, -2.0]]), torch.tensor([0.5]), torch.tensor([[0.3, 0.7]])
    covariance = variance * torch.eye(2) + kappa.T @ kappa
    gaussian = torch.distributions.MultivariateNormal(torch.zeros(2), covariance)
    # The published constant is log 2 pi / 2 instead of log 2 pi.
    expected = -gaussian.log_prob(delta) - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(indep_aniso_loss(delta, variance, kappa), expected)


def test_indep_aniso_loss_without_direction_is_the_isotropic_one():
    delta, variance = torch.randn(5, 2), torch.rand(5) + 0.1
    torch.testing.assert_close(indep_aniso_loss(delta, variance, torch.zeros(5, 2)), iid_iso_loss(delta, variance))


def test_resample_parts_over_own_frame_takes_every_nth_cell():
    coarse = torch.arange(256, dtype=torch.uint8).expand(1, 256, 256)
    frame = torch.tensor([[[10.0, 20], [18, 20], [10, 28]]])
    found = resample_parts(coarse, frame, torch.tensor([BOX]), 4)
    assert found[0, 0].tolist() == [0, 64, 128, 191]  # j / 4 of 255, to the nearest


def test_resample_parts_outside_of_their_frame_are_background():
    coarse = torch.full((1, 256, 256), 3, dtype=torch.uint8)
    frame = torch.tensor([[[10.0, 20], [14, 20], [10, 28]]])
    found = resample_parts(coarse, frame, torch.tensor([BOX]), 8)
    assert found[0, 0].tolist() == [3] * 5 + [0] * 3


def test_resample_parts_follow_a_mirrored_and_a_turned_frame():
    coarse = torch.arange(256, dtype=torch.uint8).expand(1, 256, 256)
    box = torch.tensor([BOX])
    mirrored = torch.tensor([[[18.0, 20], [10, 20], [18, 28]]])
    assert resample_parts(coarse, mirrored, box, 4)[0, 0].tolist() == [255, 191, 128, 64]
    turned = torch.tensor([[[10.0, 28], [10, 20], [18, 28]]])  # a quarter to the left: columns run upwards
    assert resample_parts(coarse, turned, box, 4)[0, :, 0].tolist() == [255, 191, 128, 64]


def test_coarse_loss_is_zero_if_one_region_lacks_parts():
    coarse = torch.cat((parts(1), parts(UNKNOWN)))
    truth = objects([[[13, 23]]] * 2, [[[2, 1, 1, -1]]] * 2, coarse)
    both = torch.tensor([True, True])
    assert CoarseLossFromParts()(torch.randn(2, 2, 4, 4), regions(truth), both) == 0
    assert CoarseLossFromParts()(torch.randn(2, 2, 4, 4), regions(truth), torch.tensor([True, False])) > 0


def test_coarse_loss_with_two_channels_merges_parts():
    truth, yes = objects([[[13, 23]]], [[[2, 1, 1, -1]]], parts(14)), torch.tensor([True])
    logits = torch.stack((torch.zeros(4, 4), torch.full((4, 4), 20.0)))[None]
    assert CoarseLossFromParts()(logits, regions(truth), yes) == pytest.approx(0, abs=1e-6)


def test_instance_masks_come_from_masks_and_else_from_parts():
    full = torch.zeros(3, 40, 40, dtype=torch.bool)
    full[0, 20:28, 10:14] = True
    coarse = torch.cat((parts(UNKNOWN), parts(5), parts(UNKNOWN)))
    truth = objects([[[13, 23]]] * 3, [[[2, 1, 1, -1]]] * 3, coarse, full)
    masks, known = instance_masks(regions(truth), 4)
    assert known.tolist() == [True, True, False]
    assert masks[0, 0].tolist() == [True, True, False, False]
    assert masks[1].all()


def test_instance_masks_of_outlines_without_rings_are_unknown():
    outlines = Polygons.of([[[10, 20, 18, 20, 18, 28, 10, 28]], []])
    masks, known = instance_masks(regions(objects([[[13, 23]]] * 2, [[[2, 1, 1, -1]]] * 2, masks=outlines)), 4)
    assert known.tolist() == [True, False]
    assert masks[0].all()


def test_coarse_loss_from_masks_counts_regions_with_masks():
    coarse = torch.cat((parts(1), parts(UNKNOWN)))
    truth = objects([[[13, 23]]] * 2, [[[2, 1, 1, -1]]] * 2, coarse)
    logits = torch.zeros(2, 2, 4, 4)
    logits[1] = 1e3 * torch.tensor([1.0, -1]).reshape(2, 1, 1)
    loss = CoarseLossFromMasks()(logits, regions(truth), torch.tensor([True, True]))
    assert loss.item() == pytest.approx(math.log(2))


class Vertices:
    """Embeddings of two meshes."""

    def __init__(self, **tables):
        self.tables, self.names = tables, tuple(tables)

    def __call__(self, mesh):
        return self.tables[mesh]


def table(*rows):
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=1)


def embedding(count=1, value=(1.0, 0.0)):
    maps = torch.tensor(value).reshape(1, 2, 1, 1).expand(count, 2, 4, 4).clone()
    return {"embedding": maps.requires_grad_(), "coarse_segm": torch.zeros(count, 2, 4, 4, requires_grad=True)}


def distances(name, matrix):
    mesh = Mesh(name, len(matrix), lambda: torch.tensor(matrix))
    return Factory(lambda: type("Source", (), {"mesh": lambda self, name: mesh})())


def test_embedding_loss_is_the_cross_entropy_of_squared_distances():
    pixels, vertices = table((1, 0)), table((1, 0), (0, 1))
    loss = EmbeddingLoss(sigma=1.0)(pixels, vertices, torch.tensor([0]), lambda rows: rows)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)))


def test_soft_embedding_loss_with_narrow_kernel_equals_hard_loss():
    pixels, vertices, target = torch.randn(6, 2), table((1, 0), (0, 1), (-1, 1)), torch.tensor([0, 1, 2, 0, 1, 2])
    far = 1 - torch.eye(3)
    soft = SoftEmbeddingLoss(0.5, 1e-4)(pixels, vertices, target, lambda rows: far[rows])
    torch.testing.assert_close(soft, EmbeddingLoss(0.5)(pixels, vertices, target, lambda rows: rows))


def test_cse_loss_of_mesh_without_points_is_zero():
    truth = objects([[[13, 23]]], [[[-1, 0, 0, 0]]], parts(), mesh=mesh_id("cat"))
    vertices = Vertices(cat=table((1, 0), (0, 1)), dog=table((1, 0)))
    losses = DensePoseCseLoss(CseWeights(1, 1), EmbeddingLoss(1.0))(embedding(), regions(truth), vertices)
    assert losses["loss_densepose_Ecat"].item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert losses["loss_densepose_Edog"] == 0
    assert losses["loss_densepose_S"].item() == pytest.approx(math.log(2))


def test_cse_loss_of_unknown_mesh_lists_known_ones():
    truth = objects([[[13, 23]]], [[[-1, 0, 0, 0]]], parts(), mesh=mesh_id("horse"))
    with pytest.raises(StructureError, match="cat"):
        DensePoseCseLoss()(embedding(), regions(truth), Vertices(cat=table((1, 0))))


def test_cse_loss_of_vertex_beyond_mesh_is_refused():
    truth = objects([[[13, 23]]], [[[-1, 0, 0, 5]]], parts(), mesh=mesh_id("cat"))
    with pytest.raises(StructureError, match="vertex 5"):
        DensePoseCseLoss()(embedding(), regions(truth), Vertices(cat=table((1, 0))))


def test_cse_loss_without_embedder_or_distances_is_refused():
    truth = objects([[[13, 23]]], [[[-1, 0, 0, 0]]], parts(), mesh=mesh_id("cat"))
    with pytest.raises(ConfigError, match="embedder"):
        DensePoseCseLoss()(embedding(), regions(truth))
    with pytest.raises(ConfigError, match="meshes"):
        DensePoseCseLoss(embedding=SoftEmbeddingLoss())(embedding(), regions(truth), Vertices(cat=table((1, 0))))


def test_cse_loss_trains_masks_of_objects_without_points():
    mask = torch.ones(1, 40, 40, dtype=torch.bool)
    truth = objects([[[0, 0]]], [[[-1, 0, 0, -1]]], masks=mask)
    loss = DensePoseCseLoss(coarse=CoarseLossFromMasks(), pix_to_shape=PixToShapeCycleLoss())
    losses = loss(embedding(), regions(truth), Vertices(cat=table((1, 0), (0, 1))))
    assert losses["loss_densepose_S"] > 0
    assert losses["loss_pix2shape"] == 0


def test_shape_to_shape_loss_of_distinct_meshes_is_zero():
    vertices = {"a": 50 * torch.eye(4), "b": 50 * torch.eye(4)}
    geodesics = Geodesics(distances("any", (1 - torch.eye(4)).tolist()))
    assert ShapeToShapeCycleLoss()(vertices, geodesics).item() == pytest.approx(0, abs=1e-6)
    confused = {"a": torch.zeros(4, 4), "b": torch.zeros(4, 4)}
    # Everything comes back anywhere: a quarter of each of 12 distances of 1, in each mesh.
    expected = 2 * math.sqrt(12) / 4 * 0.025
    assert ShapeToShapeCycleLoss()(confused, geodesics).item() == pytest.approx(expected)


def test_shape_to_shape_loss_samples_vertices_of_large_meshes():
    chosen = ShapeToShapeCycleLoss(max_vertices=3).vertices(10)
    assert len(set(chosen.tolist())) == 3
    names = {ShapeToShapeCycleLoss().pair(("a", "b", "c")) for _ in range(60)}
    assert {frozenset(pair) for pair in names} == {frozenset("ab"), frozenset("ac"), frozenset("bc")}


def test_pix_to_shape_loss_of_two_equal_pixels():
    pixels = torch.ones(1, 2, 4, 4)
    masks = torch.zeros(1, 4, 4, dtype=torch.bool)
    masks[0, 1, 1] = masks[0, 1, 3] = True
    loss = PixToShapeCycleLoss(weight=1.0)(pixels, masks, {"a": table((1, 0), (0, 1))})
    assert loss.item() == pytest.approx(math.sqrt(2 * (4 * 0.5) ** 2))  # two ways of 4 squared cells, half each


def test_pix_to_shape_loss_without_pixels_is_zero():
    pixels = torch.ones(1, 2, 4, 4, requires_grad=True)
    loss = PixToShapeCycleLoss()(pixels, torch.zeros(1, 4, 4, dtype=torch.bool), {"a": table((1, 0))})
    loss.backward()
    assert loss == 0
    assert not pixels.grad.any()


def test_regions_of_different_point_counts_are_padded():
    one = objects([[[13, 23]]], [[[2, 0.5, 0.5, -1]]])
    two = objects([[[13, 23]] * 3], [[[1, 0.5, 0.5, -1]] * 3])
    without = Targets(boxes=torch.tensor([BOX]), labels=torch.zeros(1, dtype=torch.int64))
    joined = regions(one, two, without)
    assert len(joined) == 3
    assert joined.points.shape == (3, 3, 2)
    assert joined.surface[..., 0].tolist() == [[2, -1, -1], [1, 1, 1], [-1, -1, -1]]
    assert joined.mesh.tolist() == [-1, -1, -1]
