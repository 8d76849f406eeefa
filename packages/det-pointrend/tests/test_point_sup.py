"""Learning from points: a file of them made of masks, the dataset that reads it, and what heads learn."""

import json
import math

import pytest
import torch
from det_core.contracts import Dataset, MaskLoss
from det_core.data import compose
from det_core.errors import ConfigError, DataError, StructureError
from det_core.models import MaskRCNNConvUpsampleHead, ROIPooler
from det_core.ops.masks import rasterize
from det_core.recipes import Factory
from det_core.structures import Polygons, Targets
from det_pointrend.coco_points import CocoPointsDataset, SamplePoints
from det_pointrend.layers import ImplicitPointHead, RegionLayers
from det_pointrend.mask_heads import ImplicitPointRendMaskHead
from det_pointrend.point_targets import (
    LABELS,
    POINTS,
    AnnotatedPoints,
    DrawnPoints,
    PointLoss,
    PointSource,
    mask_labels_at,
)
from det_pointrend.points_from_masks import main, with_points
from PIL import Image
from torchvision.transforms import v2

CHANNELS, STRIDES = {"p2": 4}, {"p2": 4}
BOX = torch.tensor([[8.0, 8, 40, 40]])
LEFT = [8.0, 8, 24, 8, 24, 40, 8, 40]


def content():
    """Two images of 40 x 30 pixels; the second holds a triangle, a square and a crowd."""
    images = [{"id": number, "file_name": f"{number}.png", "width": 40, "height": 30} for number in (1, 2)]
    shapes = [[5, 5, 25, 5, 5, 25], [20, 10, 30, 10, 30, 20, 20, 20]]
    annotations = [
        {"id": 7 + i, "image_id": 2, "category_id": 1, "bbox": box, "iscrowd": 0, "segmentation": [shape], "mine": i}
        for i, (box, shape) in enumerate(zip([[5, 5, 20, 20], [20, 10, 10, 10]], shapes, strict=True))
    ]
    crowd = {"size": [30, 40], "counts": [0, 100, 1100]}
    annotations.append({**annotations[0], "id": 9, "iscrowd": 1, "segmentation": crowd, "bbox": [0, 0, 4, 30]})
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}


def write(folder, data):
    (folder / "images").mkdir(exist_ok=True)
    for image in data["images"]:
        Image.new("RGB", (40, 30), "grey").save(folder / "images" / image["file_name"])
    (folder / "points.json").write_text(json.dumps(data))
    return folder / "images", folder / "points.json"


def dataset(folder, data=None, **options):
    return CocoPointsDataset(*write(folder, with_points(content())[0] if data is None else data), **options)


def test_sampled_points_lie_in_box_with_labels_of_mask():
    (made,) = with_points(content(), count=50)
    first, square, crowd = made["annotations"]
    assert "segmentation" not in first
    assert {**first, "point_coords": 0, "point_labels": 0} == {
        **{key: value for key, value in content()["annotations"][0].items() if key != "segmentation"},
        "point_coords": 0,
        "point_labels": 0,
    }
    assert all(5 <= x < 25 and 5 <= y < 25 for x, y in first["point_coords"])
    # The triangle is where x + y < 30; its own edge may go either way.
    judged = zip(first["point_coords"], first["point_labels"], strict=True)
    sure = [(x + y < 29, label) for (x, y), label in judged if x + y not in (29, 30)]
    assert all(inside == label for inside, label in sure)
    assert square["point_labels"] == [1] * 50
    assert len(crowd["point_labels"]) == 50


def test_sampled_points_equal_published_script_and_versions_differ():
    first, second = with_points(content(), versions=2)
    # NumPy's generator of 1997 with seed 12345 begins 0.9296, 0.3164: 5 + 20 * 0.9296 = 23.59, 5 + 20 * 0.3164 = 11.33
    assert first["annotations"][0]["point_coords"][0] == [23, 11]
    assert first["annotations"][0]["point_coords"] != second["annotations"][0]["point_coords"]
    assert with_points(content())[0] == first


def test_sampled_points_of_box_beyond_image_lie_inside():
    data = content()
    data["annotations"][1]["bbox"] = [30, 20, 20, 20]
    points = with_points(data, count=100)[0]["annotations"][1]["point_coords"]
    assert all(30 <= x < 40 and 20 <= y < 30 for x, y in points)


def test_command_writes_one_file_per_version(tmp_path, capsys):
    write(tmp_path, content())
    source, target = tmp_path / "points.json", tmp_path / "new" / "n5.json"
    assert main([str(source), str(target), "--points", "5", "--versions", "2"]) == 0
    assert "n5_v2.json: 5 points of each of 3 objects" in capsys.readouterr().out
    made = CocoPointsDataset(tmp_path / "images", tmp_path / "new" / "n5_v1.json")
    assert made[1].targets.extras[POINTS].shape == (3, 5, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data["annotations"][0].pop("segmentation"), "has no 'segmentation'"),
        (lambda data: data.pop("images"), "is not a COCO annotation file"),
    ],
)
def test_command_with_invalid_file_reports_it_and_writes_none(tmp_path, capsys, change, words):
    data = content()
    change(data)
    (tmp_path / "bad.json").write_text(json.dumps(data))
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "bad.json"), str(tmp_path / "out.json")])
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_dataset_points_lie_at_pixel_centres_without_crowds(tmp_path):
    read = dataset(tmp_path)
    assert isinstance(read, Dataset)
    assert read[0].targets.extras[POINTS].shape == (0, 10, 2)
    targets = read[1].targets
    given = with_points(content())[0]["annotations"]
    assert targets.masks is None
    assert targets.extras[POINTS][0].tolist() == [[x + 0.5, y + 0.5] for x, y in given[0]["point_coords"]]
    assert targets.extras[LABELS].tolist() == [given[0]["point_labels"], given[1]["point_labels"], [-1] * 10]
    assert targets.extras[LABELS].dtype == torch.int8


def test_points_follow_flips_resizes_and_dropped_objects(tmp_path):
    sample = dataset(tmp_path)[1]
    moved = compose([v2.RandomHorizontalFlip(1.0), v2.Resize([60, 80])])(sample)
    before, after = sample.targets.extras[POINTS], moved.targets.extras[POINTS]
    torch.testing.assert_close(torch.as_tensor(after[..., 0]), 80 - 2 * torch.as_tensor(before[..., 0]))
    torch.testing.assert_close(torch.as_tensor(after[..., 1]), 2 * torch.as_tensor(before[..., 1]))
    cropped = compose([lambda s: s, v2.CenterCrop([10, 10])])(sample)  # x 15 to 25, y 10 to 20
    assert len(cropped.targets) == len(cropped.targets.extras[LABELS]) == 2


def test_some_points_are_kept_those_that_are_unknown_last(tmp_path):
    torch.manual_seed(0)
    data = with_points(content())[0]
    data["annotations"][1]["point_coords"] = data["annotations"][1]["point_coords"][:3]
    data["annotations"][1]["point_labels"] = data["annotations"][1]["point_labels"][:3]
    sample = dataset(tmp_path, data)[1]
    fewer = SamplePoints(4)(sample).targets
    assert fewer.extras[POINTS].shape == (3, 4, 2)
    assert type(fewer.extras[POINTS]) is type(sample.targets.extras[POINTS])
    assert fewer.extras[LABELS][1].tolist() == [1, 1, 1, -1]
    known = {tuple(point) for point in sample.targets.extras[POINTS][0].tolist()}
    assert {tuple(point) for point in fewer.extras[POINTS][0].tolist()} < known
    assert SamplePoints(40)(sample).targets.extras[LABELS].shape == (3, 10)
    assert SamplePoints(4)(sample).targets.extras[POINTS].tolist() != fewer.extras[POINTS].tolist()
    with pytest.raises(ConfigError, match="count: must be at least 1"):
        SamplePoints(0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"point_coords": None}, "annotation 7 has no 'point_coords' and 'point_labels'"),
        ({"point_coords": [], "point_labels": []}, "annotation 7 has no 'point_coords'"),
        ({"point_labels": [1]}, "annotation 7 has 10 points and 1 labels of points"),
        ({"point_coords": [[1, "x"]] * 10}, "annotation 7 has a point that is not two finite numbers"),
        ({"point_labels": [2] * 10}, "annotation 7 has a label of a point that is neither 0 nor 1"),
    ],
)
def test_invalid_points_are_reported(tmp_path, change, words):
    data = with_points(content())[0]
    data["annotations"][0] |= change
    with pytest.raises(DataError, match=words):
        dataset(tmp_path, data)


def annotated(points, labels):
    extras = {POINTS: torch.tensor([points]).float(), LABELS: torch.tensor([labels], dtype=torch.int8)}
    return Targets(boxes=BOX, labels=torch.tensor([1]), extras=extras)


def test_points_outside_region_or_unlabelled_are_ignored():
    targets = annotated([[16, 24], [4, 24], [24, 40], [24, 24]], [1, 1, 0, -1])
    shares, truth = AnnotatedPoints()([BOX], [targets])
    assert isinstance(AnnotatedPoints(), PointSource)
    assert shares[0, 0].tolist() == [0.25, 0.5]
    assert truth.tolist() == [[1, -1, 0, -1]]


def test_images_with_different_point_counts_train_together():
    few, many = annotated([[16, 24]], [1]), annotated([[16, 24], [30, 30]], [1, 0])
    shares, truth = AnnotatedPoints()([BOX, BOX[:0], BOX], [few, few[:0], many])
    assert shares.shape == (2, 2, 2)
    assert truth.tolist() == [[1, -1], [1, 0]]
    assert AnnotatedPoints()([BOX[:0]], [few[:0]])[1].shape[0] == 0


def test_objects_without_points_are_refused():
    with pytest.raises(StructureError, match="use a dataset with points"):
        AnnotatedPoints()([BOX], [Targets(boxes=BOX, labels=torch.tensor([1]))])


def test_drawn_points_have_the_truth_of_the_masks():
    masks = rasterize(Polygons.of([[LEFT]]), (64, 64))
    targets = Targets(boxes=BOX, labels=torch.tensor([1]), masks=masks)
    shares, truth = DrawnPoints(300)([BOX], [targets])
    assert shares.shape == (1, 300, 2)
    clear = (shares[0, :, 0] - 0.5).abs() > 1 / 32  # a pixel from the edge
    clear &= ((shares[0] - 0.5).abs() < 0.5 - 1 / 32).all(1)
    torch.testing.assert_close(truth[0, clear], (shares[0, clear, 0] < 0.5).float())
    assert mask_labels_at([targets[:0]], torch.zeros(0, 5, 2)).shape == (0, 5)


def mask_head(loss):
    torch.manual_seed(0)
    return MaskRCNNConvUpsampleHead(
        CHANNELS, STRIDES, 3, num_conv=1, conv_dim=8, pooler=Factory(ROIPooler, resolution=4), loss=loss
    )


def test_mask_rcnn_point_loss_uses_mask_of_matched_class():
    head = mask_head(PointLoss())
    assert isinstance(head.loss, MaskLoss)
    with torch.no_grad():
        head.predictor.weight.zero_()
        head.predictor.bias.copy_(torch.tensor([50.0, math.log(3), -50.0]))
    targets = annotated([[16, 24], [24, 20], [4, 24], [24, 24]], [1, 0, 1, -1])
    # Two of four points are known: -(log(3/4) + log(1/4)) / 4.
    expected = -(math.log(3 / 4) + math.log(1 / 4)) / 4
    losses = head.losses({"p2": torch.randn(1, 4, 16, 16)}, [BOX], [targets])
    assert losses["loss_mask"].item() == pytest.approx(expected, rel=1e-5)
    none = head.losses({"p2": torch.randn(1, 4, 16, 16)}, [BOX[:0]], [targets[:0]])["loss_mask"]
    none.backward()
    assert none == 0
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_mask_head_trains_from_points_alone():
    torch.manual_seed(0)
    features = {"p2": torch.randn(1, 4, 16, 16)}
    features["p2"][:, 0, :, :6], features["p2"][:, 0, :, 6:] = 1, -1  # the object ends at x = 24
    points = (torch.rand(1, 20, 2) * 32 + 8).tolist()[0]
    targets = annotated(points, [int(x < 24) for x, _ in points])
    implicit = ImplicitPointRendMaskHead(
        CHANNELS,
        STRIDES,
        3,
        region_layers=RegionLayers(conv_dim=4, fc_dim=8, resolution=4),
        point_head=Factory(ImplicitPointHead, fc_dim=8, num_fc=1),
        points=AnnotatedPoints(),
    )
    for head in (mask_head(PointLoss()), implicit):
        optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
        losses = []
        for _ in range(100):
            optimizer.zero_grad()
            losses.append(sum(head.losses(features, [BOX], [targets]).values()))
            losses[-1].backward()
            optimizer.step()
        assert losses[-1] < 0.3 * losses[0]
