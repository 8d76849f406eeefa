"""What `det start` answers to folders that it cannot use, or not whole."""

import json

import folders
import pytest
from det_core.errors import ConfigError, DataError
from test_start_formats import read


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="contains no picture; it is empty"):
        read(tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        read(tmp_path / "nosuch")


def test_picture_in_place_of_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"p0\.png: is a picture; give the folder"):
        read(next(iter(folders.pictures(tmp_path))))


def test_pictures_without_annotations_are_refused(tmp_path):
    folders.pictures(tmp_path)
    with pytest.raises(DataError, match=r"no annotations that can be recognized.*det predict needs no annotations"):
        read(tmp_path)
    (tmp_path / "p0.json").write_text(json.dumps({"shapes": [], "imagePath": "p0.png"}))
    with pytest.raises(DataError, match="LabelMe: export COCO"):
        read(tmp_path)
    (tmp_path / "p0.json").write_text("{broken")
    with pytest.raises(DataError, match=r"p0\.json"):
        read(tmp_path)


def test_mixed_formats_need_a_choice(tmp_path):
    folders.voc(tmp_path)
    folders.coco(tmp_path)
    with pytest.raises(ConfigError, match=r"several formats.*--format coco\|voc"):
        read(tmp_path)
    assert read(tmp_path, format="voc")[1].form == "voc"
    with pytest.raises(DataError, match="no annotations of the format csv"):
        read(tmp_path, format="csv")


def test_class_in_validation_alone_is_refused(tmp_path):
    folders.coco(tmp_path)
    file = tmp_path / "instances_val.json"
    file.write_text(file.read_text().replace('"dog"', '"Dog"'))
    with pytest.raises(DataError, match=r"val has 1 class that train lacks; 'Dog' \(train has 'dog'\)"):
        read(tmp_path)


def test_bad_entries_and_pictures_are_left_out_with_notes(tmp_path):
    folders.coco(tmp_path)
    (tmp_path / "train" / "p0.png").unlink()
    (tmp_path / "train" / "p1.png").write_bytes(b"no picture")
    folders.Image.new("RGB", (10, 10)).save(tmp_path / "train" / "p2.png")
    file = tmp_path / "instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"][-1]["bbox"] = [1, 1, -5, 3]
    file.write_text(json.dumps(content))
    gathered, _ = read(tmp_path)
    notes = " | ".join(gathered.notes)
    for part in ("1 picture that is not there", "cannot be read", "another size", "1 object left out"):
        assert part in notes
    assert (len(gathered.images["train"]), len(gathered.objects["train"])) == (3, 5)
    assert set(gathered.originals) == {"val"}


def test_unreadable_pictures_are_left_out_of_a_split(tmp_path):
    folders.labelimg(tmp_path)
    whole = (tmp_path / "p3.png").read_bytes()
    (tmp_path / "p3.png").write_bytes(whole[: len(whole) // 2])
    gathered, _ = read(tmp_path)
    assert sum(map(len, gathered.images.values())) == 7
    assert any("cannot be read" in note and "p3.png" in note for note in gathered.notes)


def test_no_object_at_all_is_refused(tmp_path):
    folders.coco(tmp_path)
    for file in tmp_path.glob("*.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "annotations": []}))
    with pytest.raises(DataError, match="no object to learn from"):
        read(tmp_path)


def test_one_picture_cannot_be_split(tmp_path):
    folders.labelimg(tmp_path)
    for number in range(1, 8):
        (tmp_path / f"p{number}.png").unlink()
        (tmp_path / f"p{number}.xml").unlink()
    with pytest.raises(DataError, match="at least 2 pictures"):
        read(tmp_path)


def test_two_files_of_the_same_pictures_are_refused(tmp_path):
    folders.coco(tmp_path)
    (tmp_path / "keypoints_train.json").write_text((tmp_path / "instances_train.json").read_text())
    with pytest.raises(DataError, match="two files of the same pictures"):
        read(tmp_path)


def test_files_of_lists_without_their_pictures(tmp_path):
    folders.pictures(tmp_path / "others", 2)
    folders.coco(tmp_path / "data")
    for file in (tmp_path / "data").rglob("*.png"):
        file.unlink()
    for file in (tmp_path / "data").glob("*.json"):
        file.rename(tmp_path / file.name)
    for file in tmp_path.glob("*.json"):
        file.write_text(file.read_text().replace('"p', '"q'))
    with pytest.raises(DataError, match=r"lists no picture that is there; the first is 'q0.png'"):
        read(tmp_path)


def test_csv_lines_that_cannot_be_read_are_named(tmp_path):
    folders.csv_table(tmp_path)
    with (tmp_path / "boxes.csv").open("a") as file:
        file.write("\np0.png,cat,1,2,x,4\np0.png,,1,2,3,4\nnosuch.png,cat,1,2,3,4\n")
    gathered, _ = read(tmp_path)
    notes = " ".join(gathered.notes)
    assert "line 18: has a box that is not four finite numbers" in notes
    assert "line 19: has no class" in notes
    assert "entries of pictures that are not there: 1" in notes


def test_yaml_of_yolo_with_a_wrong_path(tmp_path):
    folders.yolo(tmp_path)
    text = (tmp_path / "data.yaml").read_text()
    (tmp_path / "data.yaml").write_text(text.replace("val: images/val", "val: images/nosuch"))
    with pytest.raises(DataError, match="names 'images/nosuch' for val, which is not there"):
        read(tmp_path)


def test_gathered_splits_keep_a_test_split(tmp_path):
    gathered, _ = read(folders.coco(tmp_path, ("train", "test")))
    assert {split: len(images) for split, images in gathered.images.items()} == {"train": 5, "val": 1, "test": 6}
