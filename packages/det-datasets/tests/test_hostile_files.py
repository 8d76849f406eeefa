"""Files that were made to do harm: each is refused with a sentence, in little memory, and nothing is written."""

import os
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import small_benchmarks
from det_core.errors import DataError
from det_datasets.readers import CityscapesDataset, LvisDataset, VocDataset, YoloDataset
from det_datasets.readers.voc import _read as read_voc
from det_datasets.readers.yolo import class_list
from det_devkit.datasets import assert_nonsense_refused

MEGABYTE = 2**20

# The reader, the arguments of a sound set, and its file of annotations.
READERS: dict[str, tuple[Any, Callable[[Path], dict[str, Any]], str]] = {
    "lvis": (LvisDataset, small_benchmarks.lvis, "a.json"),
    "voc": (VocDataset, small_benchmarks.voc, "Annotations/a.xml"),
    "voc's list": (VocDataset, small_benchmarks.voc, "ImageSets/Main/train.txt"),
    "cityscapes": (CityscapesDataset, small_benchmarks.cityscapes, "fine/ulm/a_gtFine_polygons.json"),
    "yolo": (YoloDataset, small_benchmarks.yolo, "labels/a.txt"),
}


def files(folder: Path) -> list[str]:
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*"))


@pytest.mark.parametrize("name", READERS)
def test_gigabyte_of_garbage_annotations_is_refused_in_little_memory(tmp_path: Path, name: str) -> None:
    reader, arguments, file = READERS[name]
    assert_nonsense_refused(partial(reader, **arguments(tmp_path)), tmp_path, file)


CYCLIC = {
    "a list in itself": "names: &x [*x]\n",
    "a mapping in itself": "names: &x {0: *x}\n",
    "aliases of aliases": "a0: &a0 [x, x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    + "names: *a29\n",
}


@pytest.mark.parametrize("name", CYCLIC)
def test_endless_class_list_is_refused_in_little_memory(tmp_path: Path, name: str) -> None:
    given = small_benchmarks.yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(CYCLIC[name])
    before = files(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"data.yaml") as told:
            YoloDataset(given["images"], tmp_path / "data.yaml")
        assert tracemalloc.get_traced_memory()[1] < 64 * MEGABYTE
    finally:
        tracemalloc.stop()
    assert len(str(told.value)) < 1000
    assert files(tmp_path) == before


@pytest.mark.parametrize("opening", ["[", '{"annotations": '])
def test_endlessly_nested_lvis_annotations_are_refused_in_little_memory(tmp_path: Path, opening: str) -> None:
    given = small_benchmarks.lvis(tmp_path)
    given["annotations"].write_text(opening * 50_000)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"a.json"):
            LvisDataset(**given)
        assert tracemalloc.get_traced_memory()[1] < 64 * MEGABYTE
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("read", [class_list, read_voc])
def test_files_that_are_no_regular_ones_are_refused(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", tmp_path):
        with pytest.raises(DataError) as raised:
            read(path)
        assert len(str(raised.value)) < 1000
