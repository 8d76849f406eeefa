"""What `det predict --save` writes: read again by the readers of these formats, and compared with the result."""

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from det_core.ops.masks import rasterize
from det_core.plugins import registry
from det_core.predict import Result
from det_core.predict.writers import ImageName
from det_core.structures import Detections, Polygons, Prediction
from det_datasets.readers import VocDataset, YoloDataset
from det_inspect.predictions import contours
from PIL import Image

CLASSES = ("cat", "big dog")
BOXES = [[2.0, 3.25, 18, 19.75], [10, 5, 29, 38]]


def result(masks: bool = False, rotated: bool = False) -> Result:
    boxes = torch.tensor([[20.0, 15, 16, 8, 30], [10, 8, 6, 6, 0]]) if rotated else torch.tensor(BOXES)
    shapes = torch.zeros(2, 40, 30, dtype=torch.bool)
    shapes[0, 4:19, 3:17] = True
    shapes[0, 4:10, 3:9] = False
    shapes[1, 6:20, 12:20] = True
    shapes[1, 30:36, 12:20] = True
    detections = Detections(
        boxes=boxes,
        labels=torch.tensor([1, 0]),
        scores=torch.tensor([0.875, 0.5]),
        size=(40, 30),
        masks=shapes if masks else None,
    )
    image = (torch.arange(3 * 40 * 30) % 251).to(torch.uint8).reshape(3, 40, 30)
    return Result(image, Prediction(detections=detections), CLASSES, (1, 2))


def write(writer: str, folder: Path, *results: Result) -> None:
    made = registry.find("writers", writer).load()(folder)
    for number, each in enumerate(results or (result(),)):
        made.write(each, ImageName(number, f"sub/{number}.png", f"sub/{number}.png", str(folder / f"in/{number}.png")))
    made.finish()


def saved_images(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(result().image.permute(1, 2, 0).numpy()).save(folder / name)


def test_csv_has_a_line_per_object(tmp_path: Path) -> None:
    write("csv", tmp_path, result(), result().filtered(1.0), result())
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert rows[0] == {
        "file_name": "sub/0.png",
        "label": "1",
        "class": "big dog",
        "score": "0.8750",
        "x0": "2.00",
        "y0": "3.25",
        "x1": "18.00",
        "y1": "19.75",
    }


def test_csv_of_rotated_boxes_has_angles(tmp_path: Path) -> None:
    write("csv", tmp_path, result(rotated=True))
    assert "cx,cy,width,height,angle\nsub/0.png,1,big dog,0.8750,20.00,15.00,16.00,8.00,30.00" in (
        (tmp_path / "predictions.csv").read_text().replace("\r", "")
    )


def test_yolo_is_read_again(tmp_path: Path) -> None:
    write("yolo", tmp_path, result(), result().filtered(1.0))
    folder = tmp_path / "yolo"
    saved_images(folder, "images/sub/0.png", "images/sub/1.png")
    dataset = YoloDataset(folder / "images", folder / "data.yaml")
    assert tuple(dataset.classes) == CLASSES
    targets = [dataset[index].targets for index in range(len(dataset))]
    assert [len(each) for each in targets if each is not None] == [2, 0]
    assert targets[0] is not None
    assert targets[0].labels.tolist() == [1, 0]
    assert torch.allclose(targets[0].boxes, torch.tensor(BOXES), atol=1e-3)


def test_yolo_of_masks_has_polygons(tmp_path: Path) -> None:
    write("yolo", tmp_path, result(masks=True))
    lines = (tmp_path / "yolo" / "labels" / "sub" / "0.txt").read_text().splitlines()
    label, *numbers = lines[0].split()
    polygon = np.array(numbers, float).reshape(-1, 2) * (30, 40)
    mask = rasterize(Polygons.of([[polygon.ravel().tolist()]]), (40, 30))[0]
    assert label == "1"
    expected = result(masks=True).masks[0]
    assert int((mask ^ expected).sum()) <= 0.05 * int(expected.sum())


def test_yolo_of_rotated_boxes_has_four_corners(tmp_path: Path) -> None:
    write("yolo", tmp_path, result(rotated=True))
    lines = (tmp_path / "yolo" / "labels" / "sub" / "0.txt").read_text().splitlines()
    assert [len(line.split()) for line in lines] == [9, 9]


def test_voc_is_read_again_in_whole_pixels(tmp_path: Path) -> None:
    write("voc", tmp_path, result(), result().filtered(1.0))
    folder = tmp_path / "voc"
    saved_images(folder, "JPEGImages/sub_0.png", "JPEGImages/sub_1.png")
    dataset = VocDataset(folder, "predicted", CLASSES)
    targets = dataset[0].targets
    assert targets is not None
    assert targets.labels.tolist() == [1, 0]
    assert targets.boxes.tolist() == [[2, 3, 18, 20], [10, 5, 29, 38]]


def test_labelme_path_of_the_image_is_relative(tmp_path: Path) -> None:
    saved_images(tmp_path, "in/0.png")
    write("labelme", tmp_path, result(), result(masks=True))
    place = tmp_path / "labelme" / "sub" / "0.json"
    content = json.loads(place.read_text())
    assert (place.parent / content["imagePath"]).resolve() == (tmp_path / "in" / "0.png").resolve()
    assert (content["imageHeight"], content["imageWidth"], content["imageData"]) == (40, 30, None)
    assert [each["shape_type"] for each in content["shapes"]] == ["rectangle", "rectangle"]
    assert content["shapes"][0]["points"] == [[2.0, 3.25], [18.0, 19.75]]
    assert (content["shapes"][0]["label"], content["shapes"][0]["description"]) == ("big dog", "0.8750")
    shapes = json.loads(place.with_name("1.json").read_text())["shapes"]
    assert [(each["shape_type"], each["group_id"]) for each in shapes] == [
        *[("polygon", None), ("polygon", 1), ("polygon", 1)],
    ]


def test_label_studio_has_tasks_and_the_interface_for_them(tmp_path: Path) -> None:
    write("label-studio", tmp_path, result(), result().filtered(1.0))
    tasks = json.loads((tmp_path / "label_studio.json").read_text())
    assert [each["data"]["image"] for each in tasks] == [f"/data/local-files/?d=sub/{number}.png" for number in (0, 1)]
    [first, second] = tasks[0]["predictions"][0]["result"]
    assert first["value"]["rectanglelabels"] == ["big dog"]
    assert first["value"]["x"] / 100 * first["original_width"] == pytest.approx(2)
    assert second["value"]["height"] / 100 * second["original_height"] == pytest.approx(33)
    assert tasks[1]["predictions"][0]["result"] == []
    view = ElementTree.parse(tmp_path / "label_studio.xml").getroot()
    control = view.find("RectangleLabels")
    assert control is not None
    assert (control.get("name"), control.get("toName")) == (first["from_name"], first["to_name"])
    assert [each.get("value") for each in control] == list(CLASSES)
    write("label-studio", tmp_path, result(masks=True))
    assert ElementTree.parse(tmp_path / "label_studio.xml").getroot().find("PolygonLabels") is not None


def test_crops_are_the_pixels_of_the_boxes(tmp_path: Path) -> None:
    write("crops", tmp_path)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")) == [
        *("crops/big_dog/sub/0_1.png", "crops/cat/sub/0_2.png"),
    ]
    with Image.open(tmp_path / "crops" / "cat" / "sub" / "0_2.png") as picture:
        assert np.array_equal(np.asarray(picture), result().image[:, 5:38, 10:29].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("tolerance", [0.0, 0.7])
def test_contours_enclose_the_mask(tolerance: float) -> None:
    y, x = np.mgrid[:60, :80]
    mask = ((x - 30) ** 2 + (y - 30) ** 2 < 20**2) | ((x > 60) & (y > 40) & (x < 70))
    polygons = contours(mask, tolerance)
    drawn = rasterize(Polygons.of([[ring.ravel().tolist() for ring in polygons]]), mask.shape)[0].numpy()
    assert len(polygons) == 2
    assert (drawn ^ mask).sum() <= (0 if tolerance == 0 else 0.05 * mask.sum())
    assert len(polygons[0]) < (200 if tolerance == 0 else 50)


def test_contours_fill_holes_and_split_at_corners() -> None:
    mask = np.zeros((6, 6), np.bool_)
    mask[0:3, 0:3] = True
    mask[1, 1] = False
    mask[3, 3] = True
    assert [len(ring) for ring in contours(mask, 0)] == [4, 4]
    assert contours(np.zeros((4, 4), np.bool_)) == []
