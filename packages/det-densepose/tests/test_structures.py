"""Extras of objects and detections: what they hold, and that it survives what is done to objects."""

import torch
from det_core.structures import Detections, Targets
from det_densepose.structures import (
    COARSE,
    SURFACE,
    UNKNOWN,
    MeshEmbeddings,
    has_coarse_parts,
    has_points,
    mesh_id,
)


def targets(count: int, **extras: torch.Tensor) -> Targets:
    boxes = torch.tensor([[0.0, 0, 8, 8]]).expand(count, 4)
    return Targets(boxes=boxes, labels=torch.zeros(count, dtype=torch.int64), extras=extras)


def test_mesh_id_is_the_checksum_of_the_name():
    assert mesh_id("123456789") == 0xCBF43926  # the check value of CRC-32
    assert len({mesh_id(name) for name in ("smpl_27554", "cat_5001", "cat_7466", "chimp_5029")}) == 4


def test_has_points_counts_charts_and_vertices_and_no_padding():
    chart, vertex, padding = [[1.0, 0.5, 0.5, -1]], [[-1.0, 0, 0, 7]], [[-1.0, 0, 0, -1]]
    surface = torch.tensor([chart, vertex, padding])
    assert has_points(targets(3, **{SURFACE: surface})).tolist() == [True, True, False]
    assert has_points(targets(2)).tolist() == [False, False]


def test_has_coarse_parts_separates_background_and_unknown():
    coarse = torch.zeros(2, 256, 256, dtype=torch.uint8)
    coarse[1] = UNKNOWN
    assert has_coarse_parts(targets(2, **{COARSE: coarse})).tolist() == [True, False]
    assert has_coarse_parts(targets(1)).tolist() == [False]


def test_mesh_embeddings_keep_their_vertices_when_detections_are_chosen():
    values = MeshEmbeddings.of(torch.rand(3, 16, 2, 2), {"a": torch.zeros(4, 16)}, ("a",))
    found = Detections(
        boxes=torch.rand(3, 4),
        labels=torch.zeros(3, dtype=torch.int64),
        scores=torch.rand(3),
        size=(8, 8),
        extras={"det-densepose/embedding": values},
    )
    kept = found[torch.tensor([True, False, True])].to("cpu").extras["det-densepose/embedding"]
    assert isinstance(kept, MeshEmbeddings)
    assert kept.shape == (2, 16, 2, 2)
    assert kept.mesh_of_label == ("a",)
    assert type(values + 1) is torch.Tensor
