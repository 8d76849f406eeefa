"""Reading annotated points, and transforms that follow the symmetry of the body."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from det_core.data.transforms import ResizeShortestEdge, compose
from det_core.errors import DataError
from det_densepose.bodies.body import FIGURE, figure
from det_densepose.data import IGNORED, DensePoseDataset
from det_densepose.data.mirror import mirror_coarse, mirror_labels
from det_densepose.render.scene import Scenery
from det_densepose.render.writing import write_dataset
from det_densepose.structures import COARSE, FRAME, GRID, MESH, POINTS, SURFACE, has_points, mesh_id
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

BOX = [10, 20, 64, 32]
FULL = {"size": [256, 256], "counts": [0, 65536]}
POINT: dict[str, Any] = {"dp_x": [0, 128], "dp_y": [64, 256], "dp_I": [2, 24], "dp_U": [0, 0.5], "dp_V": [1, 0.25]}


def dataset(folder: Path, *annotations: dict[str, Any], image: dict[str, Any] | None = None, **arguments: Any) -> Any:
    Image.new("RGB", (100, 80), "grey").save(folder / "1.png")
    records = [{"id": n, "image_id": 1, "category_id": 1, "bbox": BOX, **each} for n, each in enumerate(annotations, 1)]
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": 100, "height": 80, **(image or {})}],
        "annotations": records,
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "bear"}, {"id": 3, "name": "sheep"}],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return DensePoseDataset(folder, folder / "a.json", **{"body": FIGURE, **arguments})


def test_dataset_points_are_placed_in_the_image_by_their_box(tmp_path: Path) -> None:
    targets = dataset(tmp_path, POINT)[0].targets
    assert targets.extras[POINTS][0, :2].tolist() == [[10, 28], [42, 52]]
    assert targets.extras[SURFACE][0, :2].tolist() == [[2, 0, 1, -1], [24, 0.5, 0.25, -1]]
    assert targets.extras[GRID][0, :2].tolist() == [[0, 64], [128, 256]]
    assert targets.extras[FRAME][0].tolist() == [[10, 20], [74, 20], [10, 52]]
    assert targets.extras[MESH].tolist() == [-1]


def test_dataset_person_without_points_is_padding_alone(tmp_path: Path) -> None:
    targets = dataset(tmp_path, POINT, {})[0].targets
    assert has_points(targets).tolist() == [True, False]
    assert bool((targets.extras[SURFACE][1, :, [0, 3]] == -1).all())


def test_dataset_vertices_have_the_mesh_that_the_annotation_names(tmp_path: Path) -> None:
    vertices = {"dp_x": [1], "dp_y": [1], "dp_vertex": [5], "ref_model": "cat_5001"}
    targets = dataset(tmp_path, vertices)[0].targets
    assert targets.extras[MESH].tolist() == [mesh_id("cat_5001")]
    assert targets.extras[SURFACE][0, 0].tolist() == [-1, 0, 0, 5]


def test_dataset_later_coarse_mask_covers_an_earlier_one(tmp_path: Path) -> None:
    half = {"size": [256, 256], "counts": [0, 128 * 256, 128 * 256]}  # the left half: runs go down columns
    coarse = dataset(tmp_path, {**POINT, "dp_masks": [FULL, [], half]}, {})[0].targets.extras[COARSE]
    assert coarse[0, 0, 0] == 3
    assert coarse[0, 255, 255] == 1
    assert (coarse[1] == 255).all()


def test_dataset_one_mask_is_the_whole_body(tmp_path: Path) -> None:
    assert (dataset(tmp_path, {**POINT, "dp_masks": FULL})[0].targets.extras[COARSE] == 1).all()


def test_dataset_masks_without_segmentation_are_pasted_from_coarse_parts(tmp_path: Path) -> None:
    mask = dataset(tmp_path, {**POINT, "dp_masks": [FULL]}, masks=True)[0].targets.masks[0]
    assert int(mask.sum()) == 64 * 32
    assert bool(mask[20:52, 10:74].all())


def test_dataset_ignored_regions_are_a_mask_of_the_image(tmp_path: Path) -> None:
    region = {"ignore_regions_x": [[0, 50, 50, 0]], "ignore_regions_y": [[0, 0, 40, 40]]}
    sample = dataset(tmp_path, POINT, image=region)[0]
    mask = sample.targets.image_extras[IGNORED]
    assert mask.shape == (1, 80, 100)
    assert int(mask.sum()) == 2000


def test_dataset_class_map_joins_categories(tmp_path: Path) -> None:
    made = dataset(tmp_path, {"category_id": 2}, {}, class_map={"bear": "sheep"})
    assert made.classes == ("person", "sheep")
    assert made[0].targets.labels.tolist() == [1, 0]


def test_dataset_keep_points_leaves_out_other_images(tmp_path: Path) -> None:
    assert len(dataset(tmp_path, keep="points")) == 0
    assert len(dataset(tmp_path, POINT, {}, keep="points")) == 1


def test_dataset_of_lvis_takes_file_names_from_addresses(tmp_path: Path) -> None:
    content = {"images": [{"id": 1, "coco_url": "http://x/train2017/1.png", "width": 10, "height": 10}]}
    content |= {"annotations": [], "categories": [{"id": 1, "name": "bear"}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    made = DensePoseDataset(tmp_path, tmp_path / "a.json")
    assert made.path(0) == tmp_path / "train2017" / "1.png"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dp_x": [0, 300]}, "1 points outside of its box: 'dp_x' is 300, not within 0 to 256"),
        ({"dp_I": [2, 25]}, "the part 25, which is not a whole number from 0 to 24"),
        ({"dp_U": [0, 1.5]}, "a value of 'dp_U' out of 0 to 1: 1.5"),
        ({"dp_V": [-0.1, 0]}, "a value of 'dp_V' out of 0 to 1: -0.1"),
        ({"dp_y": [1]}, "lists of points of different lengths"),
        ({"dp_y": [1, None]}, "a 'dp_y' that is no list of finite numbers"),
        ({"dp_masks": [{"size": [128, 128], "counts": [0, 16384]}]}, "must be 256 x 256"),
        ({"dp_masks": [{"size": [256, 256], "counts": [0, 5]}]}, "an RLE of 5 pixels"),
        ({"dp_masks": [[]] * 15}, "no list of at most 14 masks, but 15"),
        ({"dp_vertex": [1, 2]}, "'dp_vertex', but no 'ref_model'"),
        ({"dp_vertex": [1, 5001], "ref_model": "cat_5001"}, "the vertex 5001, which mesh 'cat_5001' does not have"),
        ({"ignore": 1}, "ignore 1, which must be 0"),
    ],
)
def test_dataset_of_bad_points_is_an_error_that_names_the_annotation(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=f"annotation 1 has .*{message}"):
        dataset(tmp_path, {**POINT, **change})
    skipping = dataset(tmp_path, {**POINT, **change}, bad_annotations="skip")
    assert skipping.num_objects == 0
    assert len(skipping.skipped) == 1


def test_dataset_flip_without_the_published_symmetry_names_the_file(tmp_path: Path) -> None:
    sample = dataset(tmp_path, POINT, body="smpl_27554")[0]
    with pytest.raises(DataError, match=r"UV_symmetry_transforms.mat: .*cannot be shipped"):
        compose([v2.RandomHorizontalFlip(1.0)])(sample)


def test_mirror_labels_reads_row_v_and_column_u_of_the_old_part() -> None:
    tables = torch.zeros(24, 256, 256), torch.zeros(24, 256, 256)
    tables[0][2, 51, 102] = 0.25  # part 3: v = 0.2, u = 0.4
    tables[1][2, 51, 102] = 0.75
    part, u, v = mirror_labels(torch.tensor([3, 0]), torch.tensor([0.4, 0.4]), torch.tensor([0.2001, 0.2]), tables)
    assert part.tolist() == [4, 0]
    assert u.tolist() == pytest.approx([0.25, 0.4])
    assert v.tolist() == pytest.approx([0.75, 0.2])


def test_mirror_coarse_exchanges_hands_and_keeps_unknown() -> None:
    assert mirror_coarse(torch.tensor([0, 1, 2, 3, 14, 255], dtype=torch.uint8)).tolist() == [0, 1, 3, 2, 14, 255]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("rendered")
    file = write_dataset(folder, 1, Scenery((96, 96), (1, 1)), dense=True)
    return DensePoseDataset(folder / "images", file, body=FIGURE), folder


def plain(sample: Any, key: str) -> np.ndarray:
    values: np.ndarray = sample.targets.extras[key].as_subclass(Tensor).numpy()
    return values


def test_dataset_of_rendered_points_agree_with_the_truth_of_their_pixels(rendered: Any) -> None:
    made, folder = rendered
    sample = made[0]
    dense = np.array(Image.open(folder / "dense" / "000001_IUV.png"))
    real = plain(sample, SURFACE)[0, :, 0] > 0
    x, y = plain(sample, POINTS)[0][real].astype(int).T
    assert np.array_equal(dense[y, x, 0], plain(sample, SURFACE)[0][real][:, 0])
    assert np.abs(dense[y, x, 1:] / 255 - plain(sample, SURFACE)[0][real][:, 1:3]).max() < 1 / 255 + 1e-4


def test_flip_of_points_goes_to_their_mirror_images_on_the_surface(rendered: Any) -> None:
    sample = rendered[0][0]
    flipped = compose([v2.RandomHorizontalFlip(1.0)])(sample)
    real = plain(sample, SURFACE)[0, :, 0] > 0
    before, after = plain(sample, SURFACE)[0][real], plain(flipped, SURFACE)[0][real]
    charts, symmetry = figure().charts, figure().symmetry
    assert charts is not None
    assert symmetry is not None
    assert np.array_equal(symmetry[before[:, 3].astype(int)], after[:, 3].astype(int))
    a, b = (charts.nearest(each[:, 0].astype(int), each[:, 1], each[:, 2]) for each in (before, after))
    assert figure().geodesics()[symmetry[a], b].mean() < 0.02  # type: ignore[misc]
    assert np.allclose(plain(flipped, POINTS)[0][real][:, 0], 96 - plain(sample, POINTS)[0][real][:, 0])


def test_flip_twice_gives_the_points_back(rendered: Any) -> None:
    sample = rendered[0][0]
    again = compose([v2.RandomHorizontalFlip(1.0), v2.RandomHorizontalFlip(1.0)])(sample)
    assert np.abs(plain(again, SURFACE) - plain(sample, SURFACE)).max() < 2 / 255 + 1e-4
    assert np.array_equal(plain(again, COARSE), plain(sample, COARSE))
    assert np.allclose(plain(again, FRAME), plain(sample, FRAME), atol=1e-4)


def test_points_follow_resize_crop_and_rotation(rendered: Any) -> None:
    sample = rendered[0][0]
    real = plain(sample, SURFACE)[0, :, 0] > 0
    larger = compose([ResizeShortestEdge(192)])(sample)
    assert np.allclose(plain(larger, POINTS)[0][real], 2 * plain(sample, POINTS)[0][real])
    turned = compose([v2.RandomRotation((90, 90), expand=True)])(sample)
    x, y = plain(sample, POINTS)[0][real].T
    assert np.allclose(plain(turned, POINTS)[0][real], np.stack((y, 96 - x), 1), atol=1e-3)
    assert np.array_equal(plain(turned, SURFACE), plain(sample, SURFACE))
