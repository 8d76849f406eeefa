"""For tests of datasets and samplers: images in memory, and files of random bytes."""

import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from det_core.errors import DataError
from det_core.structures import Sample, Targets

__all__ = ["LabelledImages", "assert_nonsense_refused"]

_GIGABYTE, _MOST = 2**30, 256 * 2**20


class LabelledImages:
    """Image i has the given labels and (height, width)."""

    classes: Sequence[str] = ("common", "rare", "never")
    evaluators: Sequence[str] = ()

    def __init__(self, labels: Sequence[Sequence[int]], sizes: Sequence[tuple[int, int]] = ()) -> None:
        self.labels, self.sizes = labels, sizes or [(4, 4)] * len(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        targets = Targets(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))
        return Sample(image=torch.zeros(3, *self.sizes[index], dtype=torch.uint8), targets=targets, id=index)

    def size_of(self, index: int) -> tuple[int, int]:
        """(height, width), without making the image."""
        return self.sizes[index]

    def labels_of(self, index: int) -> Sequence[int]:
        """Labels of its objects."""
        return self.labels[index]


def assert_nonsense_refused(read: Callable[[], object], folder: Path, file: str) -> None:
    """Overwrite `file`, which `read` reads, by a gigabyte of garbage: DataError, in 256 MiB, and no file is written.

    Args:
        read: makes the dataset; it succeeds before.
        folder: folder of the dataset, with all of its files.
        file: path of the file within the dataset.
    """
    read()
    before = sorted(folder.rglob("*"))
    (folder / file).write_bytes(b"\x00\x01\x02 nonsense" * 100)
    with (folder / file).open("r+b") as stream:
        stream.truncate(_GIGABYTE)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=Path(file).name):
            read()
        assert tracemalloc.get_traced_memory()[1] < _MOST
    finally:
        tracemalloc.stop()
    assert sorted(folder.rglob("*")) == before
