"""Files that were made to do harm: each is refused with a sentence, in little memory, and nothing is written."""

import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import small_datasets
from det_core.data import CocoDataset, image_size, read_image
from det_core.errors import DataError
from det_devkit import coco_files
from det_devkit.datasets import assert_nonsense_refused

MEGABYTE = 2**20
GIGABYTE = 2**30

# The reader, the arguments of a sound set, and its file of annotations.
READERS: dict[str, tuple[Any, Callable[[Path], dict[str, Any]], str]] = {
    "coco": (CocoDataset, small_datasets.coco, "a.json"),
}


@pytest.mark.parametrize("name", READERS)
def test_gigabyte_of_nonsense_for_annotations_is_refused_in_little_memory(tmp_path: Path, name: str) -> None:
    reader, arguments, file = READERS[name]
    assert_nonsense_refused(partial(reader, **arguments(tmp_path)), tmp_path, file)


@pytest.mark.parametrize("number", ["1e999", "9" * 4000, "9" * 9000, "-1e308", "NaN", "Infinity", "1e-400"])
@pytest.mark.parametrize("key", ["bbox", "segmentation", "area", "image_id", "category_id", "id", "keypoints"])
def test_enormous_number_is_refused_or_harmless(tmp_path: Path, key: str, number: str) -> None:
    images, file = coco_files.write(tmp_path, coco_files.content(2))
    value = {"bbox": f"[1, 2, {number}, 4]", "segmentation": f"[[1, 2, {number}, 4, 5, 6]]", "keypoints": f"[{number}]"}
    text = file.read_text().replace('"iscrowd": 0', f'"iscrowd": 0, "{key}": {value.get(key, number)}')
    file.write_text(text)
    masks = key == "segmentation"
    harmless = (number == "1e-400" and key in ("area", "segmentation", "id")) or key == "keypoints"
    if harmless and len(number) < 5000:
        assert len(CocoDataset(images, file)) == 2
    else:
        with pytest.raises(DataError, match=r"a.json") as told:
            CocoDataset(images, file, masks=masks)
        assert len(str(told.value)) < 1000


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (0, 5)])
def test_image_that_would_fill_memory_is_refused_before_it_is_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "0.png").write_bytes(small_datasets.png(*size))
    tracemalloc.start()
    try:
        for read in (read_image, image_size):
            with pytest.raises(DataError, match=r"0.png"):
                read(tmp_path / "0.png")
        assert tracemalloc.get_traced_memory()[1] < 64 * MEGABYTE
    finally:
        tracemalloc.stop()


def test_gigabyte_of_nonsense_for_image_refused_in_little_memory(tmp_path: Path) -> None:
    for name, beginning in {"a.jpg": b"\xff\xd8\xff\xe0", "b.png": b"\x89PNG\r\n\x1a\n", "c.tif": b"II*\x00"}.items():
        with (tmp_path / name).open("wb") as stream:
            stream.write(beginning)
            stream.truncate(GIGABYTE)
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match=name):
                read_image(tmp_path / name)
            assert tracemalloc.get_traced_memory()[1] < 64 * MEGABYTE
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("opening", ["[", '{"annotations": '])
def test_annotations_nested_without_end_are_refused_in_little_memory(tmp_path: Path, opening: str) -> None:
    images, file = coco_files.write(tmp_path, coco_files.content(2))
    file.write_text(opening * 50_000)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"a.json"):
            CocoDataset(images, file)
        assert tracemalloc.get_traced_memory()[1] < 64 * MEGABYTE
    finally:
        tracemalloc.stop()
