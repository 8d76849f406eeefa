"""Geodesic point similarity and average precision, by hand-worked numbers and on rendered pictures."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from det_core.errors import ConfigError
from det_core.structures import Detections, Prediction
from det_densepose.bodies.body import FIGURE, Charts, MatrixDistances
from det_densepose.data import IGNORED, DensePoseDataset
from det_densepose.evaluation import DensePoseEvaluator
from det_densepose.evaluation.alignment import mesh_alignment
from det_densepose.evaluation.matching import ImageClass, curves, match, thresholds_from
from det_densepose.evaluation.regions import box_kept, mask_kept
from det_densepose.evaluation.similarity import ChartReader, GroundTruthPoints, similarity
from det_densepose.render.scene import Scenery
from det_densepose.render.writing import write_dataset
from det_densepose.structures import FRAME, PREFIX
from PIL import Image

# Three vertices on one chart at u = 0, 0.5 and 1, a meter apart along the surface.
CHARTS = Charts(np.arange(3), np.ones(3, int), np.array([[0, 0], [0.5, 0], [1.0, 0]]))
ALONG = MatrixDistances(np.abs(np.arange(3.0)[:, None] - np.arange(3.0)))


def truth(*points: tuple[float, float, int]) -> GroundTruthPoints:
    """Points (x, y, vertex) in the grid of a box of 10 x 10 at the origin, with a kappa of 1."""
    grid = np.array([point[:2] for point in points], float)
    return GroundTruthPoints(grid, (0, 0, 10, 10), np.array([point[2] for point in points]), np.ones(len(points)))


def reader(part: int = 1, u: int = 0) -> ChartReader:
    values = np.zeros((3, 10, 10), np.uint8)
    values[0], values[1] = part, u
    return ChartReader(values, CHARTS)


def test_similarity_is_one_if_perfect_and_falls_with_distance() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    assert similarity(reader(), box, truth((20, 20, 0), (90, 90, 0)), ALONG) == 1
    expected = (1 + np.exp(-0.5) + np.exp(-2)) / 3
    assert similarity(reader(), box, truth((20, 20, 0), (90, 90, 1), (9, 9, 2)), ALONG) == pytest.approx(expected)


def test_similarity_counts_missed_points_and_drops_unknown_ones() -> None:
    half = (0.0, 0.0, 5.0, 10.0)  # the point at x = 200 / 255 * 10 lies outside
    assert similarity(reader(), half, truth((20, 20, 0), (200, 20, 0)), ALONG) == 0.5
    assert similarity(reader(), half, truth((20, 20, 0), (20, 30, -1)), ALONG) == 1
    assert similarity(reader(part=0), half, truth((20, 20, 0)), ALONG) == 0
    assert similarity(reader(), (50.0, 50.0, 5.0, 5.0), truth((20, 20, 0)), ALONG) == 0


def test_similarity_cuts_places_off_towards_zero() -> None:
    # x = 0 of a truth at 0 seen from a box at 0.9 is -0.9, which is cut off to the first pixel.
    assert similarity(reader(), (0.9, 0.0, 10.0, 10.0), truth((0, 0, 0)), ALONG) == 1
    assert similarity(reader(), (1.0, 0.0, 10.0, 10.0), truth((0, 0, 0)), ALONG) == 0


def one_class(values: Any, box_iou: Any = None, ignored: Any = None, crowd: Any = None) -> ImageClass:
    array = np.array(values, float)
    count = array.shape[1]
    return ImageClass(
        scores=np.linspace(0.9, 0.1, len(array)),
        areas=np.full(len(array), 2000.0),
        box_iou=array if box_iou is None else np.array(box_iou, float),
        similarities={"gps": array},
        gt_areas=np.full(count, 2000.0),
        ignored=np.zeros(count, bool) if ignored is None else np.array(ignored),
        crowd=np.zeros(count, bool) if crowd is None else np.array(crowd),
    )


def test_match_gives_an_object_to_the_best_scored_detection() -> None:
    made = match(one_class([[0.6, 0], [0.9, 0], [0, 0.55]]), "gps", (0, 1e10), np.array([0.5]))
    assert made.matched.tolist() == [[1, 0, 2]]


def test_match_of_a_crowd_takes_several_detections() -> None:
    image = one_class([[0.6], [0.9]], ignored=[True], crowd=[True])
    assert match(image, "gps", (0, 1e10), np.array([0.5])).matched.tolist() == [[1, 1]]


def test_match_ignores_a_detection_on_an_ignored_person() -> None:
    image = one_class([[0.0, 0.0]], box_iou=[[0.1, 0.85]], ignored=[False, True])
    assert match(image, "gps", (0, 1e10), np.array([0.5, 0.9])).ignored.all()
    less = one_class([[0.0, 0.0]], box_iou=[[0.1, 0.75]], ignored=[False, True])
    assert not match(less, "gps", (0, 1e10), np.array([0.5, 0.9])).ignored.any()


def test_match_of_an_image_without_objects_ignores_its_detections() -> None:
    empty = one_class(np.zeros((2, 0)))
    assert match(empty, "gps", (0, 1e10), np.array([0.5])).ignored.all()


def test_curves_of_hit_and_miss_equal_coco() -> None:
    # Two objects; the first detection hits, the second is wrong: precision 1 up to recall 0.5.
    made = curves([{0: one_class([[0.7, 0], [0, 0.1]])}], 1, "gps", np.array([0.5]))
    assert made.recall[0, 0, 0] == 0.5
    assert made.precision[0, :, 0, 0].mean() == pytest.approx(51 / 101)


def test_thresholds_from_a_fifth_go_on_by_twentieths() -> None:
    assert thresholds_from(0.5).tolist() == pytest.approx(np.arange(50, 100, 5) / 100)
    assert len(thresholds_from(0.2)) == 16


def test_regions_drop_boxes_and_masks_by_covered_share() -> None:
    region = np.zeros((20, 20), bool)
    region[:, :8] = True
    assert not box_kept((0, 0, 10, 10), region)
    assert box_kept((2, 0, 10, 10), region)
    assert mask_kept((0, 0, 10, 10), np.ones((10, 10), bool), region)
    left = np.zeros((10, 10), bool)
    left[:, :8] = True
    assert not mask_kept((0, 0, 10, 10), left, region)
    assert mask_kept((12, 0, 8, 8), np.zeros((8, 8), bool), region)


def test_mesh_alignment_of_equal_embeddings_has_no_error() -> None:
    table = np.eye(3)
    along = {"a": ALONG, "b": ALONG}
    keys = {"a": {"nose": 0, "tail": 2}, "b": {"nose": 0, "tail": 2}}
    assert mesh_alignment({"a": table, "b": table}, keys, along)["GE"] == 0
    crossed = mesh_alignment({"a": table, "b": table[::-1]}, keys, along)
    assert crossed["GE"] == 2
    assert crossed["GPS-a"] == pytest.approx(np.exp(-4 / (2 * 0.255**2)))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("rendered")
    file = write_dataset(folder, 3, Scenery((128, 128), (1, 1), (0.7, 0.9)), dense=True)
    return DensePoseDataset(folder / "images", file, body=FIGURE), folder


def perfect(sample: Any, folder: Path) -> Prediction:
    """What a model that knows the truth would predict of the one figure of a picture, as raw outputs at full size."""
    dense = np.array(Image.open(folder / "dense" / f"{sample.id:06d}_IUV.png"))
    x0, y0, x1, y1 = sample.targets.boxes[0].int().tolist()
    crop = torch.from_numpy(dense[y0:y1, x0:x1]).permute(2, 0, 1)
    side = 4 * max(crop.shape[1:])
    large = torch.nn.functional.interpolate(crop[None].float(), (side, side), mode="nearest-exact")[0]
    part = large[0].long()
    fields = {
        "coarse_segm": torch.stack((part == 0, part > 0)).float(),
        "fine_segm": torch.nn.functional.one_hot(part, 25).permute(2, 0, 1).float(),
        "u": (large[1] / 255).expand(25, -1, -1),
        "v": (large[2] / 255).expand(25, -1, -1),
    }
    extras = {PREFIX + name: value[None] for name, value in fields.items()}
    boxes = sample.targets.boxes[:1].clone()
    labels, scores = torch.zeros(1, dtype=torch.int64), torch.ones(1)
    return Prediction(detections=Detections(boxes=boxes, labels=labels, scores=scores, size=sample.size, extras=extras))


def test_evaluator_ranks_ground_truth_high_and_wrong_parts_low(pictures: Any) -> None:
    dataset, folder = pictures
    good, bad = (DensePoseEvaluator(["person"], body=FIGURE) for _ in range(2))
    for number in range(len(dataset)):
        sample = dataset[number]
        prediction = perfect(sample, folder)
        good.update(prediction, sample)
        found = prediction.detections
        assert found is not None
        order = [0, 2, 1, *range(3, 25)]
        fine = found.extras[f"{PREFIX}fine_segm"][:, order].roll(12, 1)  # every part is taken for another one
        bad.update(
            replace(prediction, detections=replace(found, extras={**found.extras, f"{PREFIX}fine_segm": fine})), sample
        )
    assert good.result()["densepose_gps/AP75"] > 0.99
    assert good.result()["densepose_segm/AP50"] > 0.99
    assert bad.result()["densepose_gps/AP"] < 0.1


def test_evaluator_of_two_processes_is_that_of_one(pictures: Any) -> None:
    dataset, folder = pictures
    whole, *halves = (DensePoseEvaluator(["person"], body=FIGURE) for _ in range(3))
    for number in range(len(dataset)):
        sample = dataset[number]
        for evaluator in (whole, halves[number % 2]):
            evaluator.update(perfect(sample, folder), sample)
    states = [half.state() for half in halves]
    assert len(pickle.dumps(states)) < 6000  # no tensor is stored
    halves[0].merge(states)
    assert halves[0].result() == whole.result()


def test_evaluator_leaves_out_detections_in_ignored_regions(pictures: Any) -> None:
    dataset, folder = pictures
    sample = dataset[0]
    region = torch.ones(1, 128, 128, dtype=torch.bool)
    targets = replace(sample.targets, image_extras={IGNORED: region})
    evaluator = DensePoseEvaluator(["person"], body=FIGURE)
    evaluator.update(perfect(sample, folder), replace(sample, targets=targets))
    assert evaluator.result() == {}
    assert "densepose_gps/AP" in evaluator.notes


def test_evaluator_without_detections_has_a_recall_of_zero(pictures: Any) -> None:
    sample = pictures[0][0]
    assert FRAME in sample.targets.extras
    nothing = Detections(
        boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64), scores=torch.zeros(0), size=sample.size
    )
    evaluator = DensePoseEvaluator(["person"], body=FIGURE)
    evaluator.update(Prediction(detections=nothing), sample)
    assert evaluator.result()["densepose_gps/AR"] == 0


def test_evaluator_of_bad_arguments_is_an_error() -> None:
    with pytest.raises(ConfigError, match="min_similarity"):
        DensePoseEvaluator(["person"], min_similarity=1.0)
