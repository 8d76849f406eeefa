"""Pictures that are in a dataset twice: with the same pixels, or, in two splits, nearly so."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from det_inspect.datasets.report import Defect
from det_inspect.start.hashes import near, picture_hash

__all__ = ["Copies"]


class _Picture(NamedTuple):
    split: str
    path: Path | str
    id: str


class Copies:
    """The pictures so far: the digests of their pixels, and hashes that copies in another size or format share."""

    def __init__(self) -> None:
        self._first: dict[bytes, _Picture] = {}
        self._pictures: list[_Picture] = []
        self._hashes: list[np.ndarray] = []

    def add(self, pixels: Tensor, split: str, path: Path | str, number: object) -> Iterator[Defect]:
        """Whether an equal picture was added before.

        Args:
            pixels: uint8 (3, H, W).
            split: the split of the picture.
            path: path of the image, or its id without a file.
            number: id of the image in the annotations.
        """
        shape = str(tuple(pixels.shape)).encode()
        # The digest of the pixels, not of the file: a copy may have another encoding or other metadata.
        content = pixels.permute(1, 2, 0).contiguous().numpy()
        key = hashlib.blake2b(content.data, key=shape, digest_size=16).digest()
        picture = _Picture(split, path, str(number))
        if key in self._first:
            other = self._first[key]
            kind = "same image" if other.split == split else "split overlap"
            yield _defect(kind, picture, f"has the same pixels as {other.path} of {other.split}")
            return
        self._first[key] = picture
        self._pictures.append(picture)
        self._hashes.append(picture_hash(content))

    def nearly_equal(self) -> Iterator[Defect]:
        """Each picture with nearly the same content as one of an earlier split, once."""
        splits = list(dict.fromkeys(picture.split for picture in self._pictures))
        for place, split in enumerate(splits[1:], 1):
            places = [n for n, each in enumerate(self._pictures) if each.split == split]
            earlier = [n for n, each in enumerate(self._pictures) if each.split in splits[:place]]
            hashes = [np.stack([self._hashes[n] for n in numbers]) for numbers in (places, earlier)]
            nearest: dict[int, int] = {}
            for first, second in near(*hashes):
                nearest.setdefault(first, second)
            for first, second in nearest.items():
                other = self._pictures[earlier[second]]
                yield _defect(
                    "similar images", self._pictures[places[first]], f"nearly equal to {other.path} of {other.split}"
                )


def _defect(kind: str, picture: _Picture, text: str) -> Defect:
    image = picture.path if isinstance(picture.path, Path) else None
    return Defect(kind, picture.split, str(picture.path), picture.id, text, image)
