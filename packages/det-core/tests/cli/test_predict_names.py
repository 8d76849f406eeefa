"""What `det predict` calls images and pictures."""

from pathlib import Path

import pytest
from det_core.cli.predict import _expanded, _image_ids
from det_core.predict.picture_names import FreeNames, picture_names, save_picture
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
def test_image_ids_are_the_numbers_of_the_files_unless_two_share_one(names: list[str], ids: list[int]) -> None:
    assert _image_ids([Path(name) for name in names]) == ids


def saved(place: Path, side: int = 4) -> bytes:
    Image.new("RGB", (side, side)).save(place)
    return place.read_bytes()


def test_picture_names_photographs_in_the_output_stay(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png", "other.jpg"):
        saved(tmp_path / name)
    (tmp_path / "c.png").mkdir()
    (tmp_path / "d.png").write_text("no picture")
    elsewhere = tmp_path / "elsewhere"
    paths = [tmp_path / "a.jpg", tmp_path / "b.png", *(elsewhere / name for name in ("other.jpg", "c.bmp", "d.gif"))]
    assert picture_names(paths, tmp_path) == ["a_2.jpg", "b_2.png", "other_2.jpg", "c_2.png", "d_2.png"]
    assert picture_names(paths, tmp_path / "new") == ["a.jpg", "b.png", "other.jpg", "c.png", "d.png"]


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png"])
def test_picture_names_own_pictures_are_replaced_unless_they_are_the_input(tmp_path: Path, suffix: str) -> None:
    output = tmp_path / "found"
    output.mkdir()
    for _ in range(2):
        [name] = picture_names([tmp_path / f"a{suffix}"], output)
        assert name == f"a{suffix}"
        save_picture(Image.new("RGB", (4, 4)), output / name)
    assert picture_names([output / f"a{suffix}"], output) == [f"a_2{suffix}"]


def test_picture_names_links_to_photographs_are_not_written_through(tmp_path: Path) -> None:
    saved(tmp_path / "a.jpg")
    output = tmp_path / "found"
    output.mkdir()
    (output / "b.jpg").symlink_to(tmp_path / "a.jpg")
    (output / "c.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "same").symlink_to(tmp_path)
    assert picture_names([Path("b.jpg"), Path("c.jpg")], output) == ["b_2.jpg", "c_2.jpg"]
    assert picture_names([tmp_path / "a.jpg"], tmp_path / "same") == ["a_2.jpg"]


def test_picture_names_differ_whatever_the_images_are_called() -> None:
    paths = [Path(name) for name in ("a/x.jpg", "b/X.JPG", "c/x_2.jpg", "d/x.jpg", "x.tif", "x.png")]
    names = picture_names(paths, None)
    assert names == ["x.jpg", "X_2.JPG", "x_2_2.jpg", "x_3.jpg", "x.png", "x_2.png"]


@pytest.mark.parametrize("same", [True, False])
def test_picture_names_of_thousands_of_files_look_at_each_once(same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def count(self: FreeNames, name: str) -> bool:
        nonlocal looks
        looks += 1
        return True

    monkeypatch.setattr(FreeNames, "_is_free", count)
    names = picture_names([Path(f"{0 if same else i}/{0 if same else i}.jpg") for i in range(8000)], Path("out"))
    assert len(set(names)) == looks == 8000


def test_segments_label_images_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "semantic").mkdir()
    before = saved(tmp_path / "semantic" / "a.png")
    names = FreeNames(tmp_path / "semantic")
    assert [names.take("a", ".png"), names.take("b", ".png")] == ["a_2.png", "b.png"]
    assert (tmp_path / "semantic" / "a.png").read_bytes() == before


def test_expanded_leaves_out_pictures_that_det_drew_into_the_same_folder(tmp_path: Path) -> None:
    saved(tmp_path / "a.png")
    save_picture(Image.new("RGB", (4, 4)), tmp_path / "a_2.png")
    assert list(_expanded([str(tmp_path)], tmp_path)) == [tmp_path / "a.png"]
    assert len(list(_expanded([str(tmp_path)], tmp_path / "out"))) == 2
