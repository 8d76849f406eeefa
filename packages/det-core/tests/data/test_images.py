"""read_image: every kind of photograph becomes upright uint8 RGB, everything else a sentence that names the file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from det_core.data.images import from_pil, image_size, read_image
from det_core.errors import DataError
from PIL import Image

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def picture(rows: list[list[tuple[int, int, int]]]) -> Image.Image:
    return Image.fromarray(np.array(rows, np.uint8))


def pixel(image: torch.Tensor, y: int, x: int) -> tuple[int, ...]:
    return tuple(image[:, y, x].tolist())


def test_png_is_read_as_uint8_red_green_blue(tmp_path: Path) -> None:
    picture([[RED, GREEN, BLUE]]).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == torch.uint8
    assert image.shape == (3, 1, 3)
    assert [pixel(image, 0, x) for x in range(3)] == [RED, GREEN, BLUE]


def test_one_pixel_image_is_read(tmp_path: Path) -> None:
    picture([[BLUE]]).save(tmp_path / "a.png")
    assert pixel(read_image(tmp_path / "a.png"), 0, 0) == BLUE


def test_gray_image_gets_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 100, 255]], np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[0, 100, 255]]] * 3


def test_black_and_white_image_reaches_255(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1").save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[0, 255]]] * 3


def test_palette_is_resolved(tmp_path: Path) -> None:
    picture([[RED, GREEN], [BLUE, WHITE]]).quantize(4).save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    image = read_image(tmp_path / "a.png")
    assert [pixel(image, y, x) for y in (0, 1) for x in (0, 1)] == [RED, GREEN, BLUE, WHITE]


def test_cmyk_is_converted(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert Image.open(tmp_path / "a.jpg").mode == "CMYK"
    red, green, blue = pixel(read_image(tmp_path / "a.jpg"), 8, 8)
    assert red > 245
    assert max(green, blue) < 10


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257, 300, 32896, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert read_image(tmp_path / f"a.{suffix}").tolist() == [[[0, 1, 1, 128, 255]]] * 3


def test_more_than_sixteen_bits_and_floats_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1 << 20]], np.int32)).save(tmp_path / "a.tif")
    Image.fromarray(np.array([[0.0, 0.5]], np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(DataError, match=r"a.tif: holds more than 16 bits.*values run from 0 to 1048576"):
        read_image(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"b.tif: holds floating-point values.*save it with 8 or 16 bits"):
        read_image(tmp_path / "b.tif")


def test_transparent_parts_show_white(tmp_path: Path) -> None:
    rgba = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 128]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert pixel(image, 0, 0) == RED
    assert pixel(image, 0, 1) == WHITE
    assert pixel(image, 0, 2) == (127, 127, 127)


def test_gray_with_alpha_and_transparent_palette_show_white_too(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[0, 255], [0, 0]]], np.uint8), "LA").save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[0, 255]]] * 3
    paletted = picture([[RED, GREEN]]).quantize(2)
    paletted.save(tmp_path / "b.png", transparency=paletted.getpixel((1, 0)))
    image = read_image(tmp_path / "b.png")
    assert [pixel(image, 0, 0), pixel(image, 0, 1)] == [RED, WHITE]


# The corner of the stored picture [[RED, GREEN], [BLUE, WHITE], [BLACK, BLACK]] that stands top left when upright.
@pytest.mark.parametrize(
    ("orientation", "first_row"),
    [
        (1, [RED, GREEN]),
        (2, [GREEN, RED]),
        (3, [BLACK, BLACK]),
        (4, [BLACK, BLACK]),
        (5, [RED, BLUE, BLACK]),
        (6, [BLACK, BLUE, RED]),
        (7, [BLACK, WHITE, GREEN]),
        (8, [GREEN, WHITE, BLACK]),
    ],
)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, first_row: list[tuple[int, ...]]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture([[RED, GREEN], [BLUE, WHITE], [BLACK, BLACK]]).save(tmp_path / "a.png", exif=exif)
    image = read_image(tmp_path / "a.png")
    assert [pixel(image, 0, x) for x in range(image.shape[2])] == first_row
    assert image_size(tmp_path / "a.png") == tuple(image.shape[1:]) == ((3, 2) if orientation < 5 else (2, 3))


def test_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    picture([[RED]]).save(tmp_path / "a.gif", save_all=True, append_images=[picture([[GREEN]])])
    assert pixel(read_image(tmp_path / "a.gif"), 0, 0) == RED


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "tif", "webp", "ppm"])
def test_usual_formats_are_read_and_sized(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (7, 5), WHITE).save(tmp_path / f"a.{suffix}")
    assert read_image(tmp_path / f"a.{suffix}").tolist() == torch.full((3, 5, 7), 255).tolist()
    assert image_size(tmp_path / f"a.{suffix}") == (5, 7)


def test_missing_file_is_named() -> None:
    with pytest.raises(DataError, match=r"no/such.jpg: there is no such image file; check the path"):
        read_image("no/such.jpg")


def test_folder_is_not_an_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder, not an image"):
        read_image(tmp_path)


def test_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"a.jpg: is not an image that can be read; the file is empty; give one of JPEG"
    ):
        read_image(tmp_path / "a.jpg")


def test_text_under_an_image_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("not a photograph")
    with pytest.raises(DataError, match=r"a.jpg: is not an image that can be read; give one of JPEG, PNG"):
        read_image(tmp_path / "a.jpg")


def test_postscript_is_never_handed_to_an_interpreter(tmp_path: Path) -> None:
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match="is not an image that can be read"):
        read_image(tmp_path / "a.eps")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_file_cut_short_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=f"a.{suffix}: "):
        read_image(path)


def test_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"may be an attack.*save it with fewer pixels"):
        read_image(tmp_path / "a.png")


def test_pillow_image_is_converted_like_a_file() -> None:
    image = from_pil(picture([[RED, GREEN]]))
    assert [pixel(image, 0, 0), pixel(image, 0, 1)] == [RED, GREEN]
    image += 1  # The tensor owns its memory.
