"""Dividing pictures into training, validation and test: seeded, with pictures that are alike on one side."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from det_core.data.images import read_image
from det_core.errors import ConfigError, DataError
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Shares", "alike", "divide", "perceptual_hash"]

_SIDE = 16  # of the picture whose neighbours are compared: 2 * 16 * 16 bits
_NEAR = 40  # of 512 bits; smaller or brighter copies differ in up to 30, other photographs in 50 and more
_TRIES = 50
_BLOCK = 512


@dataclass(frozen=True)
class Shares:
    """The shares of validation and test, each from 0 to below 1; training gets the rest.

    Raises:
        ConfigError: nothing is left for training.
    """

    val: float = 0.2
    test: float = 0.0

    def __post_init__(self) -> None:
        if min(self.val, self.test) < 0 or self.val + self.test >= 1:
            detail = f"got --val {self.val:g} and --test {self.test:g}"
            raise ConfigError("--val", "and --test must be shares that leave pictures for training", detail)


def perceptual_hash(path: Path) -> NDArray[np.uint8]:
    """A difference hash, uint8 (64,): whether each of 16 x 16 patches is brighter than its right and lower neighbour.

    Copies in another size, format or brightness have nearly the same. After Krawetz, "Kind of Like That" (2013).

    Raises:
        DataError: the picture cannot be read.
    """
    pixels = read_image(path).permute(1, 2, 0).numpy()
    small = Image.fromarray(pixels).convert("L").resize((_SIDE + 1, _SIDE + 1), Image.Resampling.BOX)
    values = np.asarray(small).astype(np.int16)
    right = values[:-1, 1:] > values[:-1, :-1] + 1
    lower = values[1:, :-1] > values[:-1, :-1] + 1
    return np.packbits(np.stack((right, lower)))


def alike(hashes: NDArray[np.uint8]) -> list[int]:
    """The group of each picture: those whose hashes (N, 64) differ in few bits, directly or through others."""
    parent = list(range(len(hashes)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    signs = 2 * np.unpackbits(hashes, axis=1).astype(np.float32) - 1
    for start in range(0, len(signs), _BLOCK):
        distance = (signs.shape[1] - signs[start : start + _BLOCK] @ signs.T) / 2
        for first, second in zip(*np.nonzero(distance <= _NEAR), strict=True):
            if start + first < second:
                parent[root(int(second))] = root(int(start + first))
    return [root(number) for number in range(len(hashes))]


def divide(
    images: Sequence[Mapping[str, Any]],
    labels: Mapping[Any, Iterable[int]],
    root: Path,
    shares: Shares,
    seed: int = 0,
    track: Any = None,
) -> tuple[dict[str, list[int]], list[str]]:
    """The places in `images` of each split, and notes on pictures that are alike or cannot be read.

    Of several seeded orders, the one whose splits have the classes in the most even shares.

    Args:
        images: entries of a COCO file.
        labels: the labels of the objects of an image, by its id.
        root: the folder that file names start from.
        shares: of validation and test.
        seed: of the order.
        track: shows progress, as `det data check` has it.
    """
    hashes, places, broken = [], [], []
    for place, image in enumerate(images if track is None else track(images, len(images), "comparing pictures")):
        try:
            hashes.append(perceptual_hash(root / image["file_name"]))
            places.append(place)
        except DataError as error:
            broken.append(str(error))
    if len(places) < 2:
        detail = "; ".join(broken[:3]) or f"{len(places)} can be read"
        raise DataError(str(root), "needs at least 2 pictures to learn from one and choose by another", detail)
    groups: dict[int, list[int]] = defaultdict(list)
    for place, group in zip(places, alike(np.stack(hashes)), strict=True):
        groups[group].append(place)
    notes = [f"{len(broken)} pictures cannot be read and are left out: {'; '.join(broken[:3])}"] if broken else []
    parts = [part for part in groups.values() if len(part) > 1]
    if parts:
        first = [images[place]["file_name"] for place in parts[0][:2]]
        count = sum(map(len, parts))
        notes.append(
            f"{count} pictures are copies of another one or alike, in {len(parts)} groups, each kept in one split:"
            f" {' and '.join(first)}"
        )
    targets = {"val": shares.val, "test": shares.test}
    if max(map(len, groups.values())) > (1 - shares.val - shares.test) * len(places):
        notes.append("nearly all pictures are alike, so they are divided by the order of their names")
        return _in_order(sorted(places, key=lambda place: images[place]["file_name"]), targets), notes
    counts = [Counter(labels.get(image["id"], ())) for image in images]
    orders = (_random(list(groups.values()), targets, len(places), random.Random(f"{seed}.{n}")) for n in range(_TRIES))
    return min(orders, key=lambda splits: _unevenness(splits, counts, targets)), notes


def _sizes(targets: Mapping[str, float], count: int) -> dict[str, int]:
    return {split: max(1, round(share * count)) for split, share in targets.items() if share}


def _in_order(places: Sequence[int], targets: Mapping[str, float]) -> dict[str, list[int]]:
    splits, rest = {}, list(places)
    for split, size in _sizes(targets, len(places)).items():
        splits[split], rest = rest[len(rest) - size :], rest[: len(rest) - size]
    return {"train": rest, **splits}


def _random(
    groups: Sequence[list[int]], targets: Mapping[str, float], count: int, generator: random.Random
) -> dict[str, list[int]]:
    """Whole groups in a random order, to each split until it is full; those that do not fit go to training."""
    splits: dict[str, list[int]] = {"train": []}
    order = list(groups)
    generator.shuffle(order)
    sizes = _sizes(targets, count)
    for split in sizes:
        splits[split] = []
    for group in order:
        split = next((s for s, size in sizes.items() if len(splits[s]) + len(group) <= size), "train")
        splits[split] += group
    return {split: sorted(places) for split, places in splits.items()}


def _unevenness(splits: Mapping[str, list[int]], counts: Sequence[Counter[int]], targets: Mapping[str, float]) -> float:
    """How far the share of each class in each split is from the target; an empty split is as bad as can be."""
    total: Counter[int] = sum(counts, Counter())
    worst = 0.0
    for split, share in targets.items():
        if not share:
            continue
        part: Counter[int] = sum((counts[place] for place in splits[split]), Counter())
        worst += 1000.0 * (not splits[split] or not splits["train"])
        worst += sum(abs(part[label] / total[label] - share) + (not part[label]) for label in total) / max(
            1, len(total)
        )
    return worst
