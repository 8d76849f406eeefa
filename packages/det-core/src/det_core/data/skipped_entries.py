"""Counts of entries that readers leave out of a dataset; training, evaluation and checks report them.

A dataset that leaves entries out has the attribute `left_out`, a mapping from a description, in the plural, to a count
("annotations that cannot be used": 3), and may have `skipped`, a sentence for each entry that cannot be used. A dataset
around others needs neither where it keeps them as `dataset` or `datasets`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from det_core.errors import DetWarning

__all__ = ["LeftOutWarning", "left_out", "left_out_notes", "unusable"]


class LeftOutWarning(DetWarning):
    """A dataset holds less than its files."""


def left_out(dataset: Any) -> dict[str, int]:
    """Description -> count of left-out entries of the dataset, or of those that it wraps; empty for none."""
    counts: Counter[str] = Counter()
    for part in _parts(dataset):
        value = getattr(part, "left_out", None)
        entries = value if isinstance(value, Mapping) else {}
        of_part = {str(what): int(count) for what, count in entries.items() if count}
        if not of_part and (skipped := getattr(part, "skipped", ())):
            of_part = {"entries that cannot be used": len(skipped)}
        counts.update(of_part)
    return dict(counts)


def unusable(dataset: Any) -> list[str]:
    """A sentence for each entry that cannot be used and was left out."""
    lists = [getattr(part, "skipped", ()) for part in _parts(dataset)]
    return [str(sentence) for sentences in lists if isinstance(sentences, Sequence) for sentence in sentences]


def left_out_notes(dataset: Any, name: str) -> list[str]:
    """Left-out entries of a dataset, a sentence for each kind: "data.train: annotations that ..., left out: 3".

    Args:
        dataset: any dataset; one without `left_out` and `skipped` leaves nothing out.
        name: name of the dataset in the sentences, such as its place in the recipe.
    """
    sentences = unusable(dataset)
    notes = [f"{name}: {what}, left out: {count}" for what, count in left_out(dataset).items()]
    if sentences:
        notes[0] += f"; the first: {sentences[0]:.300}"
    return notes


def _parts(dataset: Any) -> Iterator[Any]:
    """The dataset itself if it has `left_out`, else the datasets that it wraps."""
    if isinstance(getattr(dataset, "left_out", None), Mapping):
        yield dataset
        return
    within = getattr(dataset, "datasets", None)
    if not isinstance(within, Sequence) or isinstance(within, str):
        within = [dataset.dataset] if getattr(dataset, "dataset", None) is not None else []
    if not within:
        yield dataset
    for part in within:
        yield from _parts(part)
