"""From raw outputs to labels, places and vertices; files; drawings; pseudo-labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from det_core.errors import ConfigError, DataError
from det_core.predict.result import Result
from det_core.structures import Detections, Prediction
from det_densepose import results
from det_densepose.bodies.body import FIGURE, figure
from det_densepose.bodies.published import BodyFolder
from det_densepose.bootstrap.pseudo import pseudo_annotations
from det_densepose.bootstrap.samplers import PointSampler, coarse_masks
from det_densepose.render.textures import join_atlas, sample_atlas, split_atlas
from det_densepose.results.conversion import ChartResult, VertexResult, int_box, resize
from det_densepose.results.mirroring import mirror_raw
from det_densepose.results.rotation import Rotation
from det_densepose.structures import PREFIX, MeshEmbeddings
from det_densepose.visual import drawings
from det_densepose.visual.textures import take_texture
from det_densepose.writers import write_densepose_coco, write_iuv
from PIL import Image
from torch.nn import functional as F

SIZE = (40, 60)


def chart_fields(count: int = 1, side: int = 8) -> dict[str, torch.Tensor]:
    """Raw outputs that show part 2 everywhere, u 0.5 and v 0.25, in the left half of the box."""
    coarse = torch.zeros(count, 2, side, side)
    coarse[:, 1, :, : side // 2] = 10
    coarse[:, 0, :, side // 2 :] = 10
    fine, u, v = (
        torch.zeros(count, 25, side, side),
        torch.zeros(count, 25, side, side),
        torch.zeros(count, 25, side, side),
    )
    fine[:, 2] = 10
    u[:, 2], v[:, 2] = 0.5, 0.25
    return {"coarse_segm": coarse, "fine_segm": fine, "u": u, "v": v, "sigma_2": u - 1}


def result(boxes: Any, scores: Any, fields: dict[str, Any], path: Path | None = None) -> Result:
    detections = Detections(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.zeros(len(boxes), dtype=torch.int64),
        scores=torch.tensor(scores),
        size=SIZE,
        extras={PREFIX + name: value for name, value in fields.items()},
    )
    return Result(
        torch.full((3, *SIZE), 90, dtype=torch.uint8), Prediction(detections=detections), ["person"], [1], path
    )


def embedded(count: int = 1) -> dict[str, Any]:
    table = F.normalize(torch.tensor([[1.0, 0], [0, 1], [-1, 0]]))
    pixels = torch.zeros(count, 2, 8, 8)
    pixels[:, 1] = 3.0  # along vertex 1
    coarse = chart_fields(count)["coarse_segm"]
    return {"coarse_segm": coarse, "embedding": MeshEmbeddings.of(pixels, {"cat": table}, ("cat",))}


def test_int_box_cuts_off_position_and_size_separately() -> None:
    assert int_box([10.7, 20.9, 14.6, 21.0]) == (10, 20, 3, 1)
    assert int_box([-1.5, -0.5, 1.0, 3.0]) == (-1, 0, 2, 3)


def test_resize_is_torchs_bilinear() -> None:
    values = torch.randn(3, 7, 7)
    for size in ((1, 1), (7, 7), (13, 5), (30, 64)):
        wanted = F.interpolate(values[None], size, mode="bilinear", align_corners=False)[0].numpy()
        assert np.allclose(resize(values.numpy(), size), wanted, atol=1e-6)


def test_iuv_of_one_person_holds_part_u_v() -> None:
    picture = results.iuv(result([[10.4, 5, 30.4, 25]], [0.9], chart_fields()))
    assert picture.shape == (*SIZE, 3)
    assert picture[10, 12].tolist() == [2, 127, 63]
    assert picture[10, 28].tolist() == [0, 0, 0]
    assert not picture[:, :10].any()


def test_iuv_of_overlapping_persons_shows_the_better_on_top() -> None:
    fields = chart_fields(2)
    fields["u"][1, 2] = 0.9
    picture = results.iuv(result([[0, 0, 20, 20], [0, 0, 20, 20]], [0.5, 0.8], fields))
    assert picture[5, 5, 1] == 229
    assert results.iuv(result([[0, 0, 20, 20], [0, 0, 20, 20]], [0.5, 0.8], fields), min_score=0.9).max() == 0


def test_iuv_of_boxes_beyond_the_image_is_cut() -> None:
    picture = results.iuv(result([[-10, -10, 20, 20], [50, 30, 80, 60]], [0.5, 0.8], chart_fields(2)))
    assert picture[0, 0, 0] == 2
    assert picture[39, 59, 0] == 2


def test_iuv_without_persons_is_zero_without_densepose_refused() -> None:
    assert not results.iuv(result([], [], {})).any()
    with pytest.raises(ConfigError, match="these detections have no DensePose"):
        results.iuv(result([[0, 0, 5, 5]], [1.0], {}))


def test_package_offers_iuv_persons_and_vertices() -> None:
    import det_densepose

    assert det_densepose.iuv is results.iuv
    assert det_densepose.persons is results.persons
    assert det_densepose.vertices is results.vertices


def test_persons_confidences_are_read_at_the_part() -> None:
    [person] = results.persons(result([[0, 0, 8, 8]], [1.0], chart_fields()))
    assert isinstance(person, ChartResult)
    assert person.confidences["sigma_2"][0, 0] == pytest.approx(-0.5)
    assert person.confidences["sigma_2"][0, 7] == 0


def test_vertices_are_the_nearest_of_the_mesh() -> None:
    found = results.vertices(result([[10, 5, 30, 25]], [0.9], embedded()))
    assert found[10, 12] == 1
    assert found[10, 28] == -1
    with pytest.raises(ConfigError, match="predicts vertices, not charts"):
        results.iuv(result([[10, 5, 30, 25]], [0.9], embedded()))


def test_vertices_of_zero_embeddings_is_an_error() -> None:
    fields = embedded()
    fields["embedding"].vertices["cat"].zero_()
    with pytest.raises(ConfigError, match="embeddings of mesh 'cat' are all zero"):
        results.vertices(result([[10, 5, 30, 25]], [0.9], fields))


def test_compressed_array_round_trips_and_damage_is_refused() -> None:
    array = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    text = results.compress(array)
    assert np.array_equal(results.decompress(text, shape=(3, 5, 7)), array)
    for broken in ("", "####", text[: len(text) // 2]):
        with pytest.raises(DataError):
            results.decompress(broken)
    with pytest.raises(DataError, match="has a size that is not"):
        results.decompress(text, shape=(3, 7, 5))


def test_mirror_raw_moves_parts_and_twice_is_identity() -> None:
    fields = {name: torch.rand(1, 25, 4, 4) for name in ("fine_segm", "u", "v", "sigma_2")}
    grid = torch.linspace(0, 1, 256)
    tables = (1 - grid).expand(24, 256, 256), grid[:, None].expand(24, 256, 256)
    once = mirror_raw(fields, tables)
    assert torch.equal(once["fine_segm"][:, 3], fields["fine_segm"][:, 4].flip(-1))
    assert torch.equal(once["sigma_2"][:, 3], fields["sigma_2"][:, 4].flip(-1))
    assert (once["u"][:, 3] - (1 - fields["u"][:, 4].flip(-1))).abs().max() < 1 / 255
    twice = mirror_raw(once, tables)
    assert torch.equal(twice["fine_segm"], fields["fine_segm"])
    assert (twice["u"][:, 1:] - fields["u"][:, 1:]).abs().max() < 2 / 255


def test_rotation_by_a_quarter_turn_gives_boxes_back() -> None:
    rotation = Rotation((100, 200), 90)
    assert rotation.bounds == (200, 100)
    # x, y go to y, 200 - x; the box 10..30 x 20..60 to 20..60 x 170..190.
    assert rotation.boxes_before(np.array([[20, 170, 60, 190]])).tolist() == [pytest.approx([10, 20, 30, 60])]


def test_rotation_by_45_degrees_is_an_error() -> None:
    with pytest.raises(ConfigError, match="45 degrees cannot be turned back"):
        Rotation((10, 20), 135)


def test_write_iuv_of_charts_can_be_read_without_det(tmp_path: Path) -> None:
    made = result([[10.4, 5, 30.4, 25]], [0.9], chart_fields(), Path("a/street.jpg"))
    png, npz = write_iuv([made], tmp_path)
    assert png.name == "street_IUV.png"
    assert np.array_equal(np.asarray(Image.open(png)), results.iuv(made))
    with np.load(npz, allow_pickle=False) as file:
        assert file["int_boxes"].tolist() == [[10, 5, 20, 20]]
        assert file["parts_0"].shape == (20, 20)
        assert file["uv_0"].shape == (2, 20, 20)
        assert "sigma_2_0" in file.files


def test_write_iuv_of_vertices_uses_two_bytes(tmp_path: Path) -> None:
    png, npz = write_iuv([result([[10, 5, 30, 25]], [0.9], embedded(), Path("a.jpg"))], tmp_path)
    assert np.asarray(Image.open(png))[10, 12].tolist() == [255, 0, 1]
    with np.load(npz, allow_pickle=False) as file:
        assert str(file["mesh_0"]) == "cat"


def test_write_densepose_coco_holds_the_compressed_field(tmp_path: Path) -> None:
    [file] = write_densepose_coco([result([[10, 5, 30, 25]], [0.9], chart_fields(), Path("000785.jpg"))], tmp_path)
    [record] = json.loads(file.read_text())
    assert record["image_id"] == 785
    assert record["bbox"] == [10, 5, 20, 20]
    assert results.decompress(record["uv_data"], shape=tuple(record["uv_shape"]))[:, 5, 2].tolist() == [2, 127, 63]


def test_atlas_splits_down_the_columns_and_joins_again() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (12, 8, 3), dtype=np.uint8)
    tiles = split_atlas(picture)
    assert tiles.shape == (24, 2, 2, 3)
    assert np.array_equal(tiles[1], picture[2:4, :2])
    assert np.array_equal(tiles[6], picture[:2, 2:4])
    assert np.array_equal(join_atlas(tiles), picture)


def test_atlas_of_other_layout_is_refused_with_size() -> None:
    with pytest.raises(DataError, match="is no texture atlas of 24 parts; got 100 x 100 pixels; give 6 rows"):
        split_atlas(np.zeros((100, 100, 3), np.uint8))


def test_texture_taken_and_put_back_shows_the_person() -> None:
    random = np.random.default_rng(0)
    labels = np.full((30, 30), 2, np.uint8)
    u, v = np.meshgrid(np.linspace(0, 1, 30), np.linspace(1, 0, 30))
    person = ChartResult((5, 5, 30, 30), labels, np.stack((u, v)).astype(np.float32))
    image = random.integers(1, 256, (40, 60, 3), dtype=np.uint8)
    atlas = take_texture([(image, person)], side=30)
    drawn = drawings.draw(image, [person], [drawings.TextureDrawing(atlas)])
    assert np.abs(drawn[5:35, 5:35].astype(int) - image[5:35, 5:35]).mean() < 12
    assert np.array_equal(sample_atlas(atlas, labels, *person.uv)[..., 3], np.full((30, 30), 255))


def test_drawings_color_every_person_and_gray_the_rest() -> None:
    made = result([[10, 5, 30, 25]], [0.9], chart_fields())
    image = np.zeros((*SIZE, 3), np.uint8)
    image[..., 0] = 200
    chosen = [drawings.PartDrawing(), drawings.ContourDrawing(), drawings.UVDrawing("v"), drawings.BoxDrawing()]
    drawn = drawings.draw(image, results.persons(made), chosen, [0.9])
    assert np.ptp(drawn[39, 59]) == 0
    assert np.ptp(drawn[15, 12]) > 0


def test_drawings_of_charts_and_vertices_are_not_interchangeable() -> None:
    charts = results.persons(result([[10, 5, 30, 25]], [0.9], chart_fields()))
    vertices = results.persons(result([[10, 5, 30, 25]], [0.9], embedded()))
    image = np.zeros((*SIZE, 3), np.uint8)
    with pytest.raises(ConfigError, match="u: draws charts"):
        drawings.draw(image, vertices, [drawings.UVDrawing("u")])
    with pytest.raises(ConfigError, match="vertex: draws vertices"):
        drawings.draw(image, charts, [drawings.VertexDrawing(BodyFolder().body)])


def test_vertex_drawing_colors_the_figure_smoothly() -> None:
    numbers = np.arange(1990, dtype=np.int32)[:40, None].repeat(40, 1)
    person = VertexResult((0, 0, 40, 40), np.ones((40, 40), bool), numbers, FIGURE)
    drawn = drawings.draw(np.zeros((40, 60, 3), np.uint8), [person], [drawings.VertexDrawing(BodyFolder().body)])
    assert drawn[:, :40].any(-1).all()
    values = drawings.surface_values(figure())
    assert values.min() == 0
    assert values.max() == 1


def test_vertex_texture_figure_shows_tiles_of_charts() -> None:
    charts = figure().charts
    assert charts is not None
    tiles = np.repeat(np.arange(1, 25, dtype=np.uint8)[:, None, None, None] * 10, 3, 3).repeat(16, 1).repeat(16, 2)
    numbers = np.arange(1990, dtype=np.int32)[None]
    person = VertexResult((0, 0, 1990, 1), np.ones((1, 1990), bool), numbers, FIGURE)
    drawing = drawings.VertexTextureDrawing({FIGURE: join_atlas(tiles)}, BodyFolder().body)
    drawn = drawings.draw(np.zeros((1, 1990, 3), np.uint8), [person], [drawing])[0, :, 0]
    inside = np.bincount(charts.vertex, minlength=1990) == 1  # not on a seam
    rows = np.flatnonzero(inside[charts.vertex])
    assert len(rows) > 1500
    assert (drawn[charts.vertex[rows]] == 10 * charts.part[rows]).all()


def charts_with_confidence(name: str) -> ChartResult:
    labels = np.ones((1, 100), np.uint8)
    values = np.arange(100, dtype=np.float32)[None]
    return ChartResult((0, 0, 100, 1), labels, np.zeros((2, 1, 100), np.float32), {name: values})


def test_sampler_takes_small_variances_and_large_confidences() -> None:
    small = PointSampler("sigma_2").candidates(charts_with_confidence("sigma_2"))[1]
    assert sorted(small[:, 1].tolist()) == list(range(50))
    large = PointSampler("fine_segm_confidence").candidates(charts_with_confidence("fine_segm_confidence"))[1]
    assert sorted(large[:, 1].tolist()) == list(range(50, 100))
    published = PointSampler("fine_segm_confidence", published_order=True)
    assert published.candidates(charts_with_confidence("fine_segm_confidence"))[1][:, 1].max() == 49


def test_sampler_without_the_confidence_it_needs_is_an_error() -> None:
    with pytest.raises(ConfigError, match="does not predict fine_segm_confidence; it gives sigma_2"):
        PointSampler("fine_segm_confidence").candidates(charts_with_confidence("sigma_2"))


def test_pseudo_annotations_are_read_by_the_dataset(tmp_path: Path) -> None:
    from det_densepose.data import DensePoseDataset

    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    boxes = [[10, 5, 30, 25], [0, 0, 9, 9]]
    made = result(boxes, [0.9, 0.3], chart_fields(2), tmp_path / "a.png")
    content = pseudo_annotations([made], PointSampler(count=5))
    (tmp_path / "a.json").write_text(json.dumps(content))
    dataset = DensePoseDataset(tmp_path, tmp_path / "a.json", masks=True)
    assert len(dataset) == 1
    assert dataset.num_objects == 1
    [record] = content["annotations"]
    assert record["dp_I"] == [2] * 5
    assert record["dp_U"] == pytest.approx([0.5] * 5)
    assert pseudo_annotations([made], PointSampler(count=5)) == content


def test_coarse_masks_are_one_for_each_part() -> None:
    labels = np.zeros((256, 256), np.uint8)
    labels[:10] = 14
    masks = coarse_masks(labels)
    assert [bool(mask) for mask in masks] == [False] * 13 + [True]


def test_writers_write_each_image_and_one_list(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from det_densepose.writers import CocoWriter, IuvWriter

    made = result([[10, 5, 30, 25]], [0.9], chart_fields(), Path("a.jpg"))
    for kind in (IuvWriter, CocoWriter):
        writer = kind(tmp_path)
        writer.write(made, SimpleNamespace(id=3, file_name="a.jpg", picture="a.jpg"))
        writer.write(made, SimpleNamespace(id=4, file_name="b/a.jpg", picture="a_2.jpg"))
        writer.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a_2_IUV.npz",
        "a_2_IUV.png",
        "a_IUV.npz",
        "a_IUV.png",
        "densepose_coco.json",
    ]
    records = json.loads((tmp_path / "densepose_coco.json").read_text())
    assert [record["image_id"] for record in records] == [3, 4]
