"""Dividing pictures into training, validation and test: seeded, with pictures that are alike on one side."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from det_core.errors import ConfigError, DataError
from numpy.typing import NDArray

from det_inspect.counting import counted
from det_inspect.start.hashes import near, perceptual_hash

__all__ = ["Shares", "alike", "divide", "overlaps"]

_TRIES = 50


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


def alike(hashes: NDArray[np.uint8]) -> list[int]:
    """The group of each picture: those whose hashes (N, 64) differ in few bits, directly or through others."""
    parent = list(range(len(hashes)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    for first, second in near(hashes, hashes):
        if first < second:
            parent[root(second)] = root(first)
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
        shares: fractions of validation and test images, in [0, 1].
        seed: random seed of the orders.
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
    notes = [f"left out, as unreadable: {counted(len(broken), 'picture')}: {'; '.join(broken[:3])}"] if broken else []
    parts = [part for part in groups.values() if len(part) > 1]
    if parts:
        first = [images[place]["file_name"] for place in parts[0][:2]]
        count = sum(map(len, parts))
        notes.append(
            f"{count} pictures are copies of another one or alike, in {counted(len(parts), 'group')}, each kept in one"
            f" split: {' and '.join(first)}"
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


def overlaps(images: Mapping[str, Sequence[Mapping[str, Any]]], root: Path, track: Any = None) -> list[str]:
    """A note for each two splits with pictures that are copies or alike; those that cannot be read are passed over.

    Args:
        images: split -> entries of a COCO file.
        root: the folder that file names start from.
        track: shows progress, as `det data check` has it.
    """
    names: dict[str, list[str]] = {split: [] for split in images}
    hashes: dict[str, list[NDArray[np.uint8]]] = {split: [] for split in images}
    every = [(split, each["file_name"]) for split, entries in images.items() for each in entries]
    for split, name in every if track is None else track(every, len(every), "comparing splits"):
        try:
            hashes[split].append(perceptual_hash(root / name))
        except DataError:
            continue
        names[split].append(name)
    notes = []
    for first, second in combinations((split for split in images if names[split]), 2):
        pairs: dict[int, int] = {}
        for later, earlier in near(np.stack(hashes[second]), np.stack(hashes[first])):
            pairs.setdefault(later, earlier)
        if pairs:
            later, earlier = next(iter(pairs.items()))
            count = counted(len(pairs), "picture")
            example = f"{names[second][later]} and {names[first][earlier]}"
            notes.append(f"{count} of {second} in {first} as well, or alike, so that results are too good: {example}")
    return notes
