"""`det start` recognizes every format and finds the same boxes in each."""

import json
from collections import Counter
from pathlib import Path

import folders
import numpy as np
import pytest
from det_core.errors import ConfigError, DataError
from det_core.ops import rotated
from det_inspect.start.asking import Answers
from det_inspect.start.flips import choose_flips
from det_inspect.start.masks import components
from det_inspect.start.measure import choose_task, rotated_box
from det_inspect.start.start import Options, gathered_splits
from det_inspect.start.tree import Tree


def read(place: Path, terminal=False, **given):
    answers = Answers({f"--{key}": value for key, value in given.items()}, terminal)
    return gathered_splits(Tree(place), Options(given.get("format"), answers=answers))


FORMATS = {
    "coco": (folders.coco, "coco"),
    "roboflow": (folders.roboflow, "coco"),
    "coco of cvat": (folders.cvat_coco, "coco"),
    "cvat": (folders.cvat_xml, "cvat"),
    "yolo": (folders.yolo, "yolo"),
    "voc": (folders.voc, "voc"),
    "labelimg": (folders.labelimg, "voc"),
    "label studio": (folders.label_studio, "label-studio"),
    "csv": (folders.csv_table, "csv"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_format_gives_classes_boxes_and_two_splits(name, tmp_path):
    make, form = FORMATS[name]
    gathered, found = read(make(tmp_path / "data"))
    assert (found.form, gathered.classes, gathered.notes) == (form, folders.CLASSES, [])
    assert set(gathered.images) == {"train", "val"}
    for split, images in gathered.images.items():
        assert len(images) >= 1
        objects = gathered.objects[split]
        assert Counter(each["image_id"] for each in objects) == {image["id"]: 2 for image in images}
        for each in objects:
            x0, y0, x1, y1 = folders.BOXES[each["category_id"] - 1]
            assert each["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0])
        for image in images:
            assert (gathered.root / image["file_name"]).is_file()
            assert (image["width"], image["height"]) == folders.SIZE


def test_coco_files_of_splits_are_used_unchanged(tmp_path):
    gathered, _ = read(folders.coco(tmp_path))
    assert gathered.originals == {
        split: (tmp_path / f"instances_{split}.json", tmp_path / split) for split in ("train", "val")
    }


def test_roboflow_category_of_the_dataset_is_no_class(tmp_path):
    gathered, _ = read(folders.roboflow(tmp_path))
    assert gathered.classes == folders.CLASSES
    assert not gathered.originals  # the files have one category more


def test_yolo_keypoints_are_paired_by_flip_idx(tmp_path):
    lines = ["0 0.5 0.5 0.4 0.4 0.4 0.4 2 0.6 0.4 2 0.5 0.6 2"]
    place = folders.yolo(tmp_path, lines=lines, about="kpt_shape: [3, 3]\nflip_idx: [1, 0, 2]\n")
    gathered, _ = read(place)
    assert gathered.keypoints == ("left_0", "right_0", "keypoint_2")
    assert choose_task(gathered, Answers()) == "pose"


def test_yolo_without_yaml_reads_classes_txt(tmp_path):
    folders.yolo(tmp_path, splits=("x",))
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    gathered, found = read(tmp_path)
    assert (found.form, sum(map(len, gathered.images.values()))) == ("yolo", 6)


def test_dota_gives_rotated_boxes(tmp_path):
    gathered, found = read(folders.dota(tmp_path))
    assert choose_task(gathered, Answers(), found.task) == "rotated"
    boxes = {tuple(each["bbox"]) for each in gathered.all_objects()}
    assert boxes == {(12.0, 12.0, 16.0, 12.0, 0.0), (42.0, 25.0, 24.0, 30.0, 0.0)}


def test_rotated_box_covers_its_corners():
    corners = rotated.corners(np_tensor([[30.0, 20.0, 24.0, 10.0, 35.0]]))[0]
    box = rotated_box(corners.flatten().tolist())
    iou = rotated.iou(np_tensor([box]), np_tensor([[30.0, 20.0, 24.0, 10.0, 35.0]]))
    assert float(iou) == pytest.approx(1, abs=1e-3)


def np_tensor(values):
    import torch

    return torch.tensor(values)


def test_label_studio_turns_around_the_upper_left_corner(tmp_path):
    place = folders.label_studio(tmp_path)
    tasks = json.loads((place / "export.json").read_text())
    for task in tasks:
        value = task["annotations"][0]["result"][0]["value"]
        value.update(x=50, y=50, width=25, height=25, rotation=90)
    (place / "export.json").write_text(json.dumps(tasks))
    gathered, found = read(place)
    assert choose_task(gathered, Answers(), found.task) == "rotated"
    turned = next(each["bbox"] for each in gathered.all_objects() if len(each["bbox"]) == 5)
    assert turned == pytest.approx([32 - 6, 24 + 8, 16, 12, 90 - 180])


@pytest.mark.parametrize(("given", "classes"), [(None, ("object",)), ("classes", ("class_255",))])
def test_binary_masks_become_connected_objects(given, classes, tmp_path):
    gathered, _ = read(folders.masks(tmp_path), masks=given)
    assert gathered.classes == classes
    assert choose_task(gathered, Answers()) == "segment"
    boxes = Counter(tuple(each["bbox"]) for each in gathered.all_objects())
    assert boxes == {(4, 6, 16, 12): 8, (30, 10, 24, 30): 8}


def test_masks_of_several_numbers_are_unclear(tmp_path):
    place = folders.masks(tmp_path, values=(1, 2))
    with pytest.raises(ConfigError, match=r"--masks.*add --masks instances\|classes"):
        read(place)
    assert read(place, masks="instances")[0].classes == ("object",)
    assert read(place, masks="classes")[0].classes == ("class_1", "class_2")


def test_masks_with_a_file_for_each_object(tmp_path):
    for number in range(4):
        folder = tmp_path / f"id{number}"
        folders.picture(folder / "images" / f"id{number}.png", number)
        for place, (x0, y0, x1, y1) in enumerate(folders.BOXES):
            mask = np.zeros((48, 64), np.uint8)
            mask[y0:y1, x0:x1] = 255
            (folder / "masks").mkdir(exist_ok=True)
            folders.Image.fromarray(mask).save(folder / "masks" / f"{place}.png")
    gathered, _ = read(tmp_path)
    assert sum(map(len, gathered.objects.values())) == 8


def test_components_join_diagonal_neighbours():
    mask = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]], bool)
    assert sorted(int(piece.sum()) for piece in components(mask)) == [1, 2, 3]
    assert not list(components(np.zeros((3, 3), bool)))


def test_csv_takes_other_columns_shares_and_no_head(tmp_path):
    place = folders.csv_table(tmp_path / "a", "image_path;label;left;top;right;bottom".replace(";", ","))
    assert read(place)[0].classes == folders.CLASSES
    rows = [f"p{n}.png,0.25,0.25,0.5,0.75,cat" for n in range(8)]
    folders.pictures(tmp_path / "b")
    (tmp_path / "b" / "boxes.csv").write_text("\n".join(rows))
    gathered, _ = read(tmp_path / "b")
    assert {tuple(each["bbox"]) for each in gathered.all_objects()} == {(16, 12, 16, 24)}


def test_four_corners_are_masks_or_rotated_boxes(tmp_path):
    place = folders.yolo(tmp_path, lines=["0 0.2 0.2 0.5 0.3 0.4 0.6 0.1 0.5"], about="task: segment\n")
    gathered, _ = read(place)
    with pytest.raises(ConfigError, match="--task"):
        choose_task(gathered, Answers(terminal=False))
    assert choose_task(gathered, Answers({"--task": "rotated"})) == "rotated"
    assert {len(each["bbox"]) for each in gathered.all_objects()} == {5}


def test_masks_of_some_objects_are_unclear(tmp_path):
    outline = iter([[[1, 1, 9, 1, 9, 9, 5, 12, 1, 9]]] * 3 + [[]] * 100)
    gathered, _ = read(folders.coco(tmp_path, segmentation=lambda box: next(outline)))
    with pytest.raises(ConfigError, match="3 have masks"):
        choose_task(gathered, Answers(terminal=False))
    assert choose_task(gathered, Answers({"--task": "segment"})) == "segment"
    assert "objects without a usable mask left out" in " ".join(gathered.notes)


def test_task_that_does_not_fit_is_refused(tmp_path):
    gathered, _ = read(folders.coco(tmp_path))
    with pytest.raises(DataError, match="0 have masks"):
        choose_task(gathered, Answers({"--task": "segment"}))


@pytest.mark.parametrize(
    ("task", "classes", "paired", "flips"),
    [
        ("detect", ("cell",), False, ("horizontal",)),
        ("rotated", ("ship",), False, ("horizontal", "vertical")),
        ("pose", ("person",), True, ("horizontal",)),
        ("pose", ("person",), False, ()),
    ],
)
def test_flips_by_task_and_pairs(task, classes, paired, flips):
    assert choose_flips(Answers(terminal=False), task, classes, ("nose",), paired)[0] == flips


@pytest.mark.parametrize("classes", [("left_turn", "right_turn"), ("3", "4"), ("A", "B"), ("digit_1",)])
def test_flips_of_sided_classes_are_asked(classes):
    with pytest.raises(ConfigError, match=r"add --flip none\|horizontal\|both"):
        choose_flips(Answers(terminal=False), "detect", classes, (), False)
    assert choose_flips(Answers({"--flip": "none"}), "detect", classes, (), False)[0] == ()


def test_flips_of_keypoints_without_pairs_are_refused():
    with pytest.raises(ConfigError, match="left_x and right_x"):
        choose_flips(Answers({"--flip": "both"}), "pose", ("hand",), ("tip",), False)
