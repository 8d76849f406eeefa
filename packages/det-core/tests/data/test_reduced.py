"""JPEGs decoded at a reduced size: everything is where it was, as a share of the image."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from det_core.data import CocoDataset
from det_core.data.images import read_image, read_reduced
from det_core.errors import ConfigError, DataError
from det_core.ops.masks import rasterize
from PIL import Image

HEIGHT, WIDTH = 96, 160
SQUARE = (32, 16, 96, 80)  # x0, y0, x1, y1


def write(folder: Path, name: str = "a.jpg", height: int = HEIGHT, **options: Any) -> tuple[Path, Path]:
    """A white square on black, in the middle of the pixels that JPEG puts together, with a crowd at its side."""
    picture = Image.new("RGB", (WIDTH, HEIGHT))
    picture.paste("white", SQUARE)
    picture.save(folder / name, **options)
    x0, y0, x1, y1 = SQUARE
    own = {"image_id": 1, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": 4096.0, "iscrowd": 0}
    own |= {"segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]], "keypoints": [x0 - 0.5, y0 - 0.5, 2, 0, 0, 0]}
    crowd = {**own, "bbox": [120, 8, 32, 32], "area": 1024.0, "iscrowd": 1, "keypoints": [0.0] * 6}
    crowd["segmentation"] = {"size": [height, WIDTH], "counts": [height * WIDTH]}
    data = {
        "images": [{"id": 1, "file_name": name, "height": height, "width": WIDTH}],
        "categories": [{"id": 1, "name": "square", "keypoints": ["left_a", "right_a"]}],
        "annotations": [{"id": 1, **own}, {"id": 2, **crowd}],
    }
    (folder / "a.json").write_text(json.dumps(data))
    return folder, folder / "a.json"


@pytest.mark.parametrize(("at_least", "share"), [(96, 1), (49, 1), (48, 2), (25, 2), (24, 4), (12, 8), (1, 8)])
def test_image_boxes_polygons_and_keypoints_are_all_made_smaller(tmp_path: Path, at_least: int, share: int) -> None:
    dataset = CocoDataset(*write(tmp_path, quality=95), masks="polygons", keypoints=True, decode_at_least=at_least)
    sample = dataset[0]
    assert sample.size == (HEIGHT // share, WIDTH // share)
    assert dataset.size_of(0) == (HEIGHT, WIDTH)
    assert sample.targets is not None
    x0, y0, x1, y1 = (side / share for side in SQUARE)
    assert sample.targets.boxes.tolist() == [[x0, y0, x1, y1], [120 / share, 8 / share, 152 / share, 40 / share]]
    assert sample.targets.crowd is not None
    assert sample.targets.crowd.tolist() == [False, True]
    assert sample.targets.areas is not None
    assert sample.targets.areas.tolist() == [4096 / share**2, 1024 / share**2]
    assert sample.targets.keypoints is not None
    assert sample.targets.keypoints[0].tolist() == [[x0, y0, 2], [0, 0, 0]]
    drawn = rasterize(sample.targets.masks[:1], sample.size)[0]  # type: ignore[index, arg-type]
    assert torch.equal(drawn, sample.image[0] > 127)


def test_bitmaps_are_made_smaller_too(tmp_path: Path) -> None:
    images, file = write(tmp_path)
    data = json.loads(file.read_text())
    data["annotations"].pop()
    file.write_text(json.dumps(data))
    sample = CocoDataset(images, file, masks=True, decode_at_least=24)[0]
    assert sample.targets is not None
    assert isinstance(sample.targets.masks, torch.Tensor)
    assert torch.equal(sample.targets.masks[0], sample.image[0] > 127)


def test_turned_photograph_is_reduced_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path, exif=exif)
    image, size = read_reduced(tmp_path / "a.jpg", 40)
    assert size == (WIDTH, HEIGHT)
    assert image.shape == (3, WIDTH // 2, HEIGHT // 2)
    whole = read_image(tmp_path / "a.jpg").float()
    assert torch.equal(whole[:, ::2, ::2] > 127, image > 127)


def test_other_formats_are_read_whole(tmp_path: Path) -> None:
    images, file = write(tmp_path, "a.png")
    sample, expected = CocoDataset(images, file, decode_at_least=12)[0], CocoDataset(images, file)[0]
    assert torch.equal(sample.image, expected.image)
    assert sample.targets is not None
    assert expected.targets is not None
    assert torch.equal(sample.targets.boxes, expected.targets.boxes)


def test_sides_that_cannot_be_halved_are_rounded_up_and_boxes_fill_them(tmp_path: Path) -> None:
    Image.new("RGB", (51, 35)).save(tmp_path / "b.jpg")
    image, size = read_reduced(tmp_path / "b.jpg", 16)
    assert (size, image.shape) == ((35, 51), (3, 18, 26))


def test_what_file_says_is_compared_with_whole_image(tmp_path: Path) -> None:
    images, file = write(tmp_path, height=48)
    with pytest.raises(DataError, match="160 x 96 upright pixels"):
        CocoDataset(images, file, decode_at_least=12)[0]


def test_size_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="decode_at_least"):
        CocoDataset(*write(tmp_path), decode_at_least=0)
