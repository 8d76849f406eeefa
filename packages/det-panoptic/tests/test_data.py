"""Panoptic and semantic datasets read what is there, and say what is wrong with the rest."""

import numpy as np
import panoptic_files
import pytest
import torch
from det_core.data import CocoDataset, FixedSizeCrop, compose
from det_core.errors import ConfigError, DataError
from det_panoptic.data import Ade20k, CityscapesPanoptic, CityscapesSemantic, CocoPanoptic
from det_panoptic.names import ADE20K_CLASSES, CITYSCAPES_CLASSES, CITYSCAPES_IDS
from det_panoptic.segments import IDS, SEGMENTS, segments_of
from panoptic_files import CLASSES, SIZE, numbers, write
from PIL import Image
from torchvision.transforms import v2


def test_labels_put_things_first_with_annotations_in_any_order(tmp_path):
    dataset = CocoPanoptic(**write(tmp_path), masks=True)
    assert dataset.classes == CLASSES
    assert dataset.category_ids == (1, 3, 7, 9)
    assert dataset.things == (0, 1)
    for index in range(3):
        sample, ids = dataset[index], numbers(index)
        targets = sample.targets
        assert sample.id == index + 1
        assert dataset.labels_of(index) == targets.labels.tolist() == [0, 1]
        left = 8 + 8 * index
        assert targets.boxes.tolist() == [[left, 10, left + 16, 26], [left + 20, 28, left + 24, 40]]
        assert targets.areas.tolist() == [256, 48]
        assert (targets.masks[0].numpy() == (ids == 66_051)).all()
        assert (targets.semantic.numpy() == 255).sum() == (ids == 0).sum()
        assert (targets.semantic.numpy() == 2).sum() == (ids == 700_000).sum()
        found = segments_of(targets)
        assert found.labels.tolist() == [3, 0, 2, 1]
        assert found.areas().tolist() == [(ids == n).sum() for n in (900, 66_051, 700_000, 300)]


def test_separated_form_merges_things_and_counts_stuff_from_one(tmp_path):
    semantic = CocoPanoptic(**write(tmp_path), semantic="stuff")[0].targets.semantic.numpy()
    ids = numbers(0)
    assert (semantic[(ids == 66_051) | (ids == 300)] == 0).all()
    assert (semantic[ids == 700_000] == 1).all()
    assert (semantic[ids == 900] == 2).all()


def test_objects_of_another_dataset_take_the_place_of_things(tmp_path):
    import json

    given = write(tmp_path)
    boxes = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}]
    content = json.loads(given["annotations"].read_text())
    things = [each for each in content["categories"] if each["isthing"]]
    objects = tmp_path / "instances.json"
    objects.write_text(json.dumps({"images": content["images"], "categories": things, "annotations": boxes}))
    dataset = CocoPanoptic(**given, objects=CocoDataset(given["images"], objects))
    assert dataset[0].targets.boxes.tolist() == [[1, 2, 4, 6]]
    assert len(dataset[1].targets) == 0
    assert dataset[0].targets.image_extras[SEGMENTS].shape == (4, 3)
    other = CocoDataset(given["images"], objects, classes=["bar", "square"])
    with pytest.raises(ConfigError, match="classes of things"):
        CocoPanoptic(**given, objects=other)


def test_segments_follow_flips_and_crops_and_padding_is_void(tmp_path):
    sample = CocoPanoptic(**write(tmp_path), masks=True)[0]
    flipped = compose([v2.RandomHorizontalFlip(p=1)])(sample)
    assert torch.equal(flipped.targets.image_extras[IDS], sample.targets.image_extras[IDS].flip(1))
    padded = compose([FixedSizeCrop((64, 80))])(sample)
    ids = padded.targets.image_extras[IDS]
    assert ids.shape == (64, 80)
    assert ids[SIZE[0] :].sum() == 0
    assert (padded.targets.semantic[SIZE[0] :] == 255).all()
    cropped = compose([v2.CenterCrop((10, 10))])(sample)
    assert (segments_of(cropped.targets).areas() == 0).any()


def test_palette_files_are_decoded_and_transparency_is_ignored(tmp_path):
    given = write(tmp_path)
    expected = CocoPanoptic(**given)[0].targets.image_extras[IDS]
    label = given["labels"] / "label0.png"
    picture = Image.open(label).convert("RGB")
    for form in (picture.quantize(8, dither=Image.Dither.NONE), picture.convert("RGBA")):
        form.save(label)
        assert torch.equal(CocoPanoptic(**given)[0].targets.image_extras[IDS], expected)


def sixteen_bits(path):
    """A PNG file of 16 bits per color, which Pillow would read as 8."""
    import struct
    import zlib

    height, width = SIZE

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + b"\0\1" * (3 * width) for _ in range(height))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def grey(path):
    Image.fromarray(numbers(0).astype(np.uint8)).save(path)


def smaller(path):
    Image.open(path).resize((32, 24), Image.Resampling.NEAREST).save(path)


def cut(path):
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (sixteen_bits, "has 16 bits per value"),
        (grey, r"one value per pixel \(mode L\)"),
        (smaller, "has 32 x 24 pixels; its image has 64 x 48"),
        (cut, "cannot be read as a label image"),
        (lambda path: path.unlink(), "there is no such label image"),
    ],
)
def test_invalid_label_image_error_names_file(tmp_path, change, words):
    given = write(tmp_path)
    change(given["labels"] / "label0.png")
    dataset = CocoPanoptic(**given)
    with pytest.raises(DataError, match=words) as error:
        dataset[0]
    assert "label0.png" in str(error.value)
    assert len(dataset[1].targets) == 2


def test_segment_without_pixels_raises_or_is_skipped(tmp_path):
    def more(content):
        content["annotations"][-1]["segments_info"].insert(1, {"id": 5, "category_id": 1, "iscrowd": 0})

    given = write(tmp_path, change=more)
    with pytest.raises(DataError, match=r"has no pixel of 1 segments .* such as 5"):
        CocoPanoptic(**given)[0]
    kept = segments_of(CocoPanoptic(**given, bad_segments="skip")[0].targets)
    assert kept.labels.tolist() == [3, 0, 2, 1]
    assert (kept.areas() > 0).all()


def test_pixels_without_a_segment_stop_or_become_void(tmp_path):
    def fewer(content):
        del content["annotations"][-1]["segments_info"][0]

    given = write(tmp_path, change=fewer)
    with pytest.raises(DataError, match=r"has pixels of 1 segments .* does not list; such as 900"):
        CocoPanoptic(**given)[0]
    targets = CocoPanoptic(**given, bad_segments="skip")[0].targets
    assert int((targets.semantic == 255).sum()) == int(np.isin(numbers(0), (0, 900)).sum())


def test_images_of_only_stuff_or_only_things_are_read(tmp_path):
    def only(content):
        for place, kinds in ((-1, (7, 9)), (-2, (1, 3))):
            own = content["annotations"][place]
            own["segments_info"] = [each for each in own["segments_info"] if each["category_id"] in kinds]

    dataset = CocoPanoptic(**write(tmp_path, change=only), bad_segments="skip")
    assert len(dataset[0].targets) == 0
    assert segments_of(dataset[1].targets).things.all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("annotations"), "has no list of annotations"),
        (lambda c: c["annotations"][0].update(image_id=77), "of no image in the list"),
        (lambda c: c["annotations"][0].pop("segments_info"), "no list of segments_info"),
        (lambda c: c["annotations"][0]["segments_info"][0].update(category_id=8), "segment 900 is of no category"),
        (lambda c: c["annotations"][0]["segments_info"][0].update(id=0), "needs an `id` from 1"),
        (lambda c: c["annotations"][0]["segments_info"][0].update(id=2**24), "needs an `id` from 1 to 16777215"),
        (lambda c: c["annotations"][0]["segments_info"][0].update(id=300), "several segments with the id 300"),
        (lambda c: c["annotations"][0]["segments_info"][0].update(iscrowd=2), "`iscrowd` must be 0 or 1"),
        (lambda c: c["annotations"].append(c["annotations"][0]), "several annotations of image"),
        (lambda c: c["annotations"][0].update(file_name="../x.png"), "a path within its folder"),
        (lambda c: c["images"][0].update(height=-1), "needs `id`, `height` and `width`"),
        (lambda c: c["categories"][0].update(isthing=5), "`isthing`"),
        (lambda c: c["annotations"].clear(), "holds no annotation"),
    ],
)
def test_invalid_file_is_refused_on_construction(tmp_path, change, words):
    with pytest.raises(DataError, match=words):
        CocoPanoptic(**write(tmp_path, change=change))


def test_cityscapes_counts_stuff_first_and_finds_images_by_city(tmp_path):
    def named(content):
        content["categories"] = [{"id": n, "name": str(n), "isthing": int(n > 23)} for n in CITYSCAPES_IDS]
        for image in content["images"]:
            image["id"] = f"aachen_{image['id']}"
        for own in content["annotations"]:
            own["image_id"] = f"aachen_{own['image_id']}"
            for each, category in zip(own["segments_info"], (7, 26, 23, 24), strict=True):
                each["category_id"] = category

    given = write(tmp_path, change=named)
    (given["images"] / "aachen").mkdir()
    for image in range(3):
        place = given["images"] / "aachen" / f"aachen_{image + 1}_leftImg8bit.png"
        (given["images"] / f"{image}.png").rename(place)
    dataset = CityscapesPanoptic(**given)
    assert segments_of(dataset[0].targets).labels.tolist() == [0, 13, 10, 11]
    assert dataset.things == tuple(range(11, 19))


def test_label_images_of_cityscapes_and_ade20k_become_labels(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name / "ulm").mkdir(parents=True)
    Image.new("RGB", (3, 1)).save(tmp_path / "images" / "ulm" / "a_leftImg8bit.png")
    values = Image.fromarray(np.array([[7, 33, 0]], np.uint8))
    values.save(tmp_path / "labels" / "ulm" / "a_gtFine_labelIds.png")
    dataset = CityscapesSemantic(tmp_path / "images", tmp_path / "labels")
    assert dataset[0].targets.semantic.tolist() == [[0, 18, 255]]
    assert len(dataset.classes) == len(CITYSCAPES_CLASSES) == 19
    Image.fromarray(np.array([[0, 1, 150]], np.uint8)).save(tmp_path / "labels" / "ulm" / "a_leftImg8bit.png")
    (tmp_path / "labels" / "ulm" / "a_gtFine_labelIds.png").unlink()
    assert Ade20k(tmp_path / "images", tmp_path / "labels")[0].targets.semantic.tolist() == [[255, 0, 149]]
    assert len(set(ADE20K_CLASSES)) == 150


def test_category_helper_gives_known_classes():
    assert {each["name"] for each in panoptic_files.CATEGORIES} == set(CLASSES)
