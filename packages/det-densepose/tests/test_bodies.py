"""The synthetic figure, distances, features, symmetry, and readers of bodies."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from det_core.errors import DataError
from det_densepose.bodies.body import PackedDistances, figure
from det_densepose.bodies.geodesics import geodesics
from det_densepose.bodies.laplacian import laplacian_features
from det_densepose.bodies.making import draw_body, make_body, save_body
from det_densepose.bodies.matfile import read_mat
from det_densepose.bodies.objfile import read_obj
from det_densepose.bodies.published import BodyFolder
from det_densepose.bodies.symmetry import PART_SYMMETRY, mirror_vertices, require_involution, uv_symmetry

BOX = """
v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 1\nv 1 0 1\nv 1 1 1\nv 0 1 1
f 4 3 2 1\nf 5 6 7 8\nf 1 2 6 5\nf 2 3 7 6\nf 3 4 8 7\nf 4 1 5 8
"""


def test_figure_vertices_in_mirror_are_its_vertices() -> None:
    body = figure()
    assert body.vertices is not None
    assert body.symmetry is not None
    assert np.array_equal(body.vertices[body.symmetry], body.vertices * [-1, 1, 1])
    assert np.array_equal(body.symmetry[body.symmetry], np.arange(body.num_vertices))


def test_figure_surface_is_closed_and_in_one_piece() -> None:
    faces = figure().faces
    assert faces is not None
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    distinct, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 2).all()
    assert figure().num_vertices - len(distinct) + len(faces) == 2


def test_figure_charts_map_24_parts_to_unit_square() -> None:
    charts = figure().charts
    assert charts is not None
    assert set(charts.part.tolist()) == set(range(1, 25))
    assert charts.uv.min() == 0
    assert charts.uv.max() == 1
    for part in range(1, 25):
        own = charts.uv[charts.part == part]
        assert np.allclose(own.min(0), 0, atol=1e-6)
        assert np.allclose(own.max(0), 1, atol=1e-6)


def test_charts_nearest_of_own_places_gives_the_vertices_themselves() -> None:
    charts = figure().charts
    assert charts is not None
    assert np.array_equal(charts.nearest(charts.part, charts.uv[:, 0], charts.uv[:, 1]), charts.vertex)


def test_charts_nearest_of_background_gives_none() -> None:
    charts = figure().charts
    assert charts is not None
    assert charts.nearest(np.array([0, 25]), np.array([0.5, 0.5]), np.array([0.5, 0.5])).tolist() == [-1, -1]


def test_uv_symmetry_of_chart_vertices_gives_their_mirror_images() -> None:
    body = figure()
    charts, symmetry = body.charts, body.symmetry
    assert charts is not None
    assert symmetry is not None
    u, v = uv_symmetry(body)
    rows, columns = (charts.uv[:, 1] * 255).astype(int), (charts.uv[:, 0] * 255).astype(int)
    there = charts.nearest(
        np.array(PART_SYMMETRY)[charts.part], u[charts.part - 1, rows, columns], v[charts.part - 1, rows, columns]
    )
    distance = body.geodesics()[there, symmetry[charts.vertex]]  # type: ignore[misc]
    assert distance.mean() < 0.01


def test_geodesics_of_flat_grid_are_straight_lines() -> None:
    grid = np.array([[x, y, 0.0] for y in range(3) for x in range(5)])
    faces = np.array(
        [f for y in range(2) for x in range(4) for a in [5 * y + x] for f in ([a, a + 1, a + 6], [a, a + 6, a + 5])]
    )
    table = geodesics(grid, faces)
    assert table[0, 4] == pytest.approx(4)
    assert table[0, 6] == pytest.approx(np.sqrt(2))
    assert table[1, 5] == pytest.approx(np.sqrt(2))  # across the diagonal, through the unfolded pair
    assert np.array_equal(table, table.T)
    assert (table >= np.linalg.norm(grid[:, None] - grid[None], axis=-1) - 1e-5).all()


def test_geodesics_of_two_pieces_is_an_error() -> None:
    with pytest.raises(DataError, match="several parts; from the first of 6 vertices 3 can be reached"):
        geodesics(np.random.default_rng(0).random((6, 3)), np.array([[0, 1, 2], [3, 4, 5]]))


def test_laplacian_features_are_orthonormal_and_first_is_constant() -> None:
    from det_densepose.bodies.laplacian import cotangents

    points = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0], [0, 0, -1]], float)
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1], [5, 2, 1], [5, 3, 2], [5, 4, 3], [5, 1, 4]])
    functions = laplacian_features(points, faces, 4).astype(float)
    area = cotangents(points, faces)[2]
    assert np.allclose((functions * area[:, None]).T @ functions, np.eye(4), atol=1e-5)
    assert np.ptp(functions[:, 0]) < 1e-5


def test_packed_distances_read_the_lower_triangle_row_by_row() -> None:
    values = np.array([10.0, 20, 21, 30, 31, 32])  # (1,0) (2,0) (2,1) (3,0) (3,1) (3,2)
    first, second = np.array([1, 0, 2, 3, 2, 2]), np.array([0, 1, 1, 2, 3, 2])
    assert PackedDistances(values).between(first, second).tolist() == [10, 10, 21, 32, 32, 0]


def test_require_involution_of_cycle_names_a_vertex() -> None:
    with pytest.raises(DataError, match="no involution; vertex 0 goes to 1, and that to 2; 3 are so"):
        require_involution(np.array([1, 2, 0]), 3, "cat")


def test_mirror_vertices_of_crooked_mesh_refused_with_count() -> None:
    with pytest.raises(DataError, match="is not symmetric in x; 1 of 3 vertices have no mirror image"):
        mirror_vertices(np.array([[-1.0, 0, 0], [1, 0, 0], [0.5, 3, 0]]), where="cat")


def test_read_obj_cuts_polygons_and_reads_places(tmp_path: Path) -> None:
    file = tmp_path / "a.obj"
    file.write_text(
        "v 0 0 0\nv 1 0 0\nv 1 1 0 # a corner\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 -1/4\n"
    )
    mesh = read_obj(file)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.texcoords is not None
    assert mesh.texcoords.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v 0 0 0\n", "has no faces"),
        ("v 0 0 0\nf 1 2 3\n", r"line 2: is no line of an OBJ file; number 2 of 1"),
        ("v 0 0 nan\nv 0 1 0\nv 1 0 0\nf 1 2 3\n", "not three finite numbers"),
        ("v 0 0 x\n", "line 1"),
    ],
)
def test_read_obj_of_a_broken_file_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.obj").write_text(text)
    with pytest.raises(DataError, match=message):
        read_obj(tmp_path / "a.obj")


def test_make_body_round_trips_through_folder(tmp_path: Path) -> None:
    (tmp_path / "box.obj").write_text(BOX)
    body = make_body(tmp_path / "box.obj", features=6)
    save_body(body, tmp_path / "box.npz")
    mesh = BodyFolder(tmp_path).mesh("box")
    assert mesh.num_vertices == 8
    assert mesh.geodesics is not None
    assert mesh.features is not None
    assert mesh.geodesics().shape == (8, 8)
    assert mesh.features().shape == (8, 6)
    assert mesh.symmetry is not None
    assert mesh.symmetry.tolist() == [1, 0, 3, 2, 5, 4, 7, 6]
    assert draw_body(body, 40).shape == (80, 120, 3)


def test_body_folder_symmetry_without_involution_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "cat.npz", vertices=np.zeros((3, 3)), symmetry=np.array([1, 2, 0]))
    with pytest.raises(DataError, match=r"cat.npz: the symmetry is no involution"):
        BodyFolder(tmp_path).body("cat")


def test_body_folder_missing_file_names_source_and_license(tmp_path: Path) -> None:
    load = BodyFolder(tmp_path).body("smpl_27554").geodesics
    assert load is not None
    with pytest.raises(DataError, match=r"geodists_smpl_27554.pkl: .*https://\S+geodists_smpl_27554.pkl \(licence:"):
        load()
    with pytest.raises(DataError, match=r"UV_symmetry_transforms.mat: .*licence"):
        BodyFolder(tmp_path).uv_transforms  # noqa: B018


def test_body_folder_of_unknown_body_lists_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no body 'dragon'; it is one of det_figure, smpl_27554"):
        BodyFolder(tmp_path).body("dragon")


def mat(*variables: tuple[str, np.ndarray]) -> bytes:
    """A MATLAB file of version 5 with compressed arrays of doubles."""

    def element(kind: int, body: bytes) -> bytes:
        return struct.pack("<II", kind, len(body)) + body + b"\0" * (-len(body) % 8)

    parts = b""
    for name, values in variables:
        inner = element(6, struct.pack("<II", 6, 0)) + element(5, np.array(values.shape, "<i4").tobytes())
        inner += element(1, name.encode()) + element(9, values.astype("<f8").tobytes(order="F"))
        packed = zlib.compress(element(14, inner))
        parts += struct.pack("<II", 15, len(packed)) + packed
    return b" " * 124 + struct.pack("<H", 0x0100) + b"IM" + parts


def test_read_mat_gives_arrays_column_by_column(tmp_path: Path) -> None:
    values = np.arange(6.0).reshape(2, 3)
    (tmp_path / "a.mat").write_bytes(mat(("some_name", values), ("b", np.ones((1, 1)))))
    found = read_mat(tmp_path / "a.mat")
    assert np.array_equal(found["some_name"], values)
    assert found["b"].tolist() == [[1.0]]


@pytest.mark.parametrize("content", [b"", b"x" * 200, mat(("a", np.ones((2, 2))))[:-9]])
def test_read_mat_of_something_else_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.mat"):
        read_mat(tmp_path / "a.mat")
