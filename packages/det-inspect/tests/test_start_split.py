"""Splits: seeded, even, with copies on one side."""

from collections import Counter
from pathlib import Path

import folders
import numpy as np
import pytest
from det_core.errors import ConfigError
from det_inspect.start.hashes import perceptual_hash
from det_inspect.start.split import Shares, alike, divide, overlaps
from PIL import Image


def entries(files: list[Path], root: Path) -> list[dict]:
    return [{"id": number, "file_name": file.relative_to(root).as_posix()} for number, file in enumerate(files)]


def test_copies_smaller_and_brighter_have_one_hash(tmp_path):
    source = Path(__file__).parents[3] / "examples" / "blood-cells" / "images"
    files = sorted(source.glob("*.jpg"))[:12]
    with Image.open(files[0]) as picture:
        picture.resize((320, 240)).save(tmp_path / "small.jpg", quality=60)
        picture.point(lambda value: min(255, int(value * 1.1 + 5))).save(tmp_path / "bright.png")
    hashes = np.stack([perceptual_hash(file) for file in (*files, tmp_path / "small.jpg", tmp_path / "bright.png")])
    groups = alike(hashes)
    assert groups[0] == groups[12] == groups[13]
    assert len(set(groups)) == 12


def test_copies_stay_in_one_split(tmp_path):
    files = folders.pictures(tmp_path, 20)
    for number in range(10):
        with Image.open(files[number]) as picture:
            picture.resize((48, 36)).save(tmp_path / f"copy{number}.png")
            files.append(tmp_path / f"copy{number}.png")
    splits, notes = divide(entries(files, tmp_path), {}, tmp_path, Shares(0.3, 0.2))
    names = {split: {files[place].stem for place in places} for split, places in splits.items()}
    for number in range(10):
        assert sum({f"p{number}", f"copy{number}"} <= own for own in names.values()) == 1
    assert sorted(place for places in splits.values() for place in places) == list(range(30))
    assert [len(splits[split]) for split in ("val", "test")] == [9, 6]
    assert "10 groups" in notes[0]


def test_divide_depends_on_the_seed_alone(tmp_path):
    files = folders.pictures(tmp_path, 20)
    first, again, other = (divide(entries(files, tmp_path), {}, tmp_path, Shares(), seed)[0] for seed in (1, 1, 2))
    assert first == again != other


def test_divide_gives_rare_classes_to_validation(tmp_path):
    files = folders.pictures(tmp_path, 40)
    labels = {number: [1] * 5 + [2] * (number % 8 == 0) for number in range(40)}
    for seed in range(4):
        splits, _ = divide(entries(files, tmp_path), labels, tmp_path, Shares(0.2), seed)
        counts = {split: Counter(label for place in own for label in labels[place]) for split, own in splits.items()}
        assert counts["val"] == {1: 40, 2: 1}


def test_frames_of_one_film_are_cut_in_order(tmp_path):
    files = []
    base = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    for number in range(10):
        frame = base.copy()
        frame[4:8, 4 + number : 8 + number] = 255
        files.append(tmp_path / f"{number:02}.png")
        Image.fromarray(frame).save(files[-1])
    splits, notes = divide(entries(files, tmp_path), {}, tmp_path, Shares(0.2))
    assert splits == {"train": list(range(8)), "val": [8, 9]}
    assert "order of their names" in notes[-1]


@pytest.mark.parametrize(("val", "test"), [(1.0, 0.0), (0.5, 0.5), (-0.1, 0.0)])
def test_shares_without_training_are_refused(val, test):
    with pytest.raises(ConfigError, match="leave pictures for training"):
        Shares(val, test)


def test_overlaps_name_copies_in_two_splits(tmp_path):
    files = folders.pictures(tmp_path, 6)
    with Image.open(files[0]) as picture:
        picture.resize((48, 36)).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    train, val = entries(files[:4], tmp_path), entries([*files[4:], tmp_path / "small.png"], tmp_path)
    [note] = overlaps({"train": train, "val": [*val, {"file_name": "broken.png"}]}, tmp_path)
    assert note.startswith("1 picture of val in train as well, or alike")
    assert note.endswith(f"small.png and {files[0].name}")
    assert overlaps({"train": train, "val": val[:2]}, tmp_path) == []


def test_pictures_without_structure_are_not_alike(tmp_path):
    files = [tmp_path / "black.png", tmp_path / "grey.png"]
    for file, value in zip(files, (0, 100), strict=True):
        Image.new("RGB", (40, 30), (value, value, value)).save(file)
    assert len(set(alike(np.stack([perceptual_hash(file) for file in files])))) == 2
