"""`det data show`: pictures as stored, and as the network gets them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from det_core import recipes
from det_core.cli.main import det
from det_core.models.parts.preprocess import Normalize
from det_core.structures import ImageBatch
from det_inspect.datasets.show import network_input, network_pictures
from PIL import Image

ROOT = Path(__file__).parents[3]


@pytest.fixture
def recipe(tmp_path):
    """Images of 40 x 30 and 30 x 30 pixels, half red, that are mirrored in training and doubled always."""
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for number, width in enumerate((40, 30), 1):
        pixels = np.full((30, width, 3), 60, np.uint8)
        pixels[:, : width // 2] = (200, 0, 0)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 30, "width": width})
        annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": [2, 2, 10, 10], "iscrowd": 0})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "all.json").write_text(
        json.dumps({**content, "annotations": [{**a, "area": 100} for a in annotations]})
    )
    data = {"type": "coco", "images": str(tmp_path / "images"), "annotations": str(tmp_path / "all.json")}
    resize = {"type": "det_core.data:ResizeShortestEdge", "size": 60}
    flip = {"type": "torchvision.transforms.v2:RandomHorizontalFlip", "p": 1.0}
    bottom = {"type": "torchvision", "name": "mobilenet_v2", "strides": [8, 16, 32]}
    backbone = {"type": "fpn", "out_channels": 8, "top": None, "bottom_up": bottom}
    anchors = {"type": "anchor_generator", "sizes": [[24], [64], [112]], "aspect_ratios": [[1.0]]}
    tree = {
        "model": {
            "type": "faster_rcnn",
            "num_classes": 1,
            "backbone": backbone,
            "proposal_generator": {"type": "rpn", "anchor_generator": anchors},
        },
        "data": {"train": data, "val": data, "train_transforms": [resize, flip], "eval_transforms": [resize]},
        "train": {"steps": 1, "batch_size": 2},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(tree), "utf-8")
    return path


def reds(picture):
    """Share of red pixels in the left and the right third, away from boxes."""
    pixels = np.asarray(picture)[-20:-4].astype(int)
    red = (pixels[..., 0] > 180) & (pixels[..., 1] < 40)
    return red[:, :10].mean(), red[:, 45:55].mean()


def test_network_gets_mirrored_and_padded_pictures(recipe):
    loaded = recipes.load(recipe)
    train, val = (list(network_pictures(loaded, split, 2)) for split in ("train", "val"))
    assert {each.size for each in train + val} == {(96, 64)}  # 80 x 60 and 60 x 60, padded to multiples of 32
    assert all(reds(each)[0] > 0.9 for each in val)
    assert all(reds(each)[0] < 0.1 for each in train)
    assert np.asarray(val[1])[10, 90].tolist() == [124, 116, 104]  # padding is zero, so the mean color


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_normalized_and_back_is_equal(order):
    pixels = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    normalize = Normalize(32, channel_order=order)
    assert torch.equal(network_input(normalize, ImageBatch(pixels=pixels, sizes=((32, 32),))), pixels)


def test_command_writes_sheets(recipe, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(det, ["data", "show", *map(str, arguments)])

    for number, extra in enumerate(([], ["--split", "val"], ["--stored"])):
        result = run(recipe, "-o", tmp_path / f"{number}.png", "--count", 2, *extra)
        assert result.exit_code == 0, result.output
    sizes = [Image.open(tmp_path / f"{number}.png").size for number in range(3)]
    assert sizes[0] == sizes[1] == (2 * 96 + 36, 64 + 24)
    assert sizes[2] == (2 * 40 + 36, 30 + 24)
    files = ("--annotations", tmp_path / "all.json", "--images", tmp_path / "images")
    assert run(*files, "-o", tmp_path / "files.png").exit_code == 0
    assert Image.open(tmp_path / "files.png").size == sizes[2]
    for output in (tmp_path / "absent" / "a.png", tmp_path / "a.unknown"):
        result = run(*files, "-o", output)
        assert result.exit_code == 2
        assert "cannot be written" in result.output
    assert "data.test" in run(recipe, "--split", "test", "-o", tmp_path / "a.png").output
