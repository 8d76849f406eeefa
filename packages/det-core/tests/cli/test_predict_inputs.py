"""Which images `det predict` takes, what it calls their results, and where these go."""

from pathlib import Path

import pytest
from det_core.cli.inputs import find_images, image_ids, picture_names
from det_core.cli.output_folder import OutputFolder
from det_core.errors import ConfigError, DataError
from PIL import Image


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["7.jpg", "0012.png"], [7, 12]),
        (["01.jpg", "1.jpg"], [1, 2]),
        (["a/1.jpg", "b/1.jpg", "2.jpg"], [1, 2, 3]),
        (["1.jpg", "x.jpg"], [1, 2]),
        (["1.jpg", "9" * 19 + ".jpg"], [1, 2]),
        (["²³.jpg", "4.jpg"], [1, 2]),
    ],
)
def test_image_ids_are_numbers_of_files_unless_two_agree(names: list[str], ids: list[int]) -> None:
    assert image_ids(names) == ids


def test_picture_names_differ_in_any_case_of_letters() -> None:
    names = ["x.jpg", "X.JPG", "x_2.jpg", "x.jpg", "x.tif", "x.png", "a/x.jpg"]
    made = picture_names(names)
    assert made == ["x.jpg", "X_2.JPG", "x_2_2.jpg", "x_3.jpg", "x.png", "x_4.png", "a/x.jpg"]


def photos(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)
    return folder


def test_find_images_folder_is_searched_with_its_folders(tmp_path: Path) -> None:
    folder = photos(tmp_path / "in", "b.png", "a/c.jpg", "a/.hidden.png", ".cache/d.png", "out/old.png")
    for name in ("notes.txt", "more.txt", "Makefile"):
        (folder / name).write_text("no image")
    inputs, skipped = find_images([str(folder)], folder / "out")
    assert [each.name for each in inputs] == ["a/c.jpg", "b.png"]
    assert [each.source for each in inputs] == [str(folder / "a" / "c.jpg"), str(folder / "b.png")]
    assert skipped == "skipped 3 files that are no images: 2 .txt, 1 without ending"
    assert find_images([f"{folder}/*.png", f"{folder}/**/*.jpg"], None)[0] == [
        (str(folder / "b.png"), "b.png"),
        (str(folder / "a" / "c.jpg"), "c.jpg"),
    ]


def test_find_images_addresses_are_called_by_their_last_part() -> None:
    inputs, _ = find_images(["https://example.com/a%20b.jpg?size=2", "https://example.com/"], None)
    assert [each.name for each in inputs] == ["a b.jpg", "image"]


def test_find_images_faults_name_the_argument(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: the folder holds no image"):
        find_images([str(tmp_path / "empty")], None)
    with pytest.raises(DataError, match="no file is called like this"):
        find_images([str(tmp_path / "*.jpg")], None)
    folder = photos(tmp_path / "in", "a.png")
    with pytest.raises(ConfigError, match=r"--output: is the folder of an image: .*a\.png; choose another folder"):
        find_images([str(folder / "a.png")], folder)


def test_output_folder_replaces_the_files_of_an_earlier_run(tmp_path: Path) -> None:
    for names in (("a.txt", "sub/b.txt"), ("a.txt",)):
        folder = OutputFolder(tmp_path)
        folder.open()
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(f"one of {len(names)}")
        folder.close()
    assert not (tmp_path / "sub" / "b.txt").exists()
    assert (tmp_path / "a.txt").read_text() == "one of 1"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], ""),
        (["a.jpg", "predictions.json"], "a.jpg, predictions.json"),
        (["a.jpg", "b.jpg", "crops/a.png"], "2 .jpg files, crops/a.png"),
        (["sub/a.jpg", "sub/deeper/b.jpg", "predictions.json"], "predictions.json, 2 files in sub/"),
    ],
)
def test_output_folder_names_the_files_that_there_are(tmp_path: Path, files: list[str], words: str) -> None:
    folder = OutputFolder(tmp_path)
    folder.open()
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert folder.close() == words


@pytest.mark.parametrize("name", ["mine.txt", "sub/mine.txt", "a.txt"])
def test_output_folder_with_files_of_others_is_refused(tmp_path: Path, name: str) -> None:
    folder = OutputFolder(tmp_path)
    folder.open()
    (tmp_path / "a.txt").write_text("det's")
    folder.close()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine, or changed by me")
    with pytest.raises(ConfigError, match=f"holds a file that det predict did not write; {name}; choose a new"):
        OutputFolder(tmp_path)


def test_files_none_of_which_exists_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.jpg: there is no such image file; nor is the other one there"):
        find_images([str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")], None)
    (tmp_path / "b.jpg").touch()
    assert len(find_images([str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")], None)[0]) == 2
