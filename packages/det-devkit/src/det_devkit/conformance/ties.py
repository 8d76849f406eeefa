"""Distinguishes ties, which rounding decides, from different results."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

__all__ = ["nearly", "resolve_ties"]

_RUNS = 8

Rows = Mapping[str, Tensor]


def nearly(module: nn.Module, tolerance: float) -> Iterator[nn.Module]:
    """Copies of a module with the weights of each perturbed by about a thousandth of `tolerance`."""
    random = torch.Generator().manual_seed(0)
    for _ in range(_RUNS):
        other = copy.deepcopy(module)
        with torch.no_grad():
            for parameter in other.parameters():
                noise = torch.randn(parameter.shape, generator=random, dtype=torch.float32)
                parameter.mul_((1 + 1e-3 * tolerance * noise).to(parameter))
        yield other


def resolve_ties(
    expected: Sequence[Rows], actual: Sequence[Rows], others: Iterable[Sequence[Rows]], tolerance: float
) -> list[Rows]:
    """`actual`, with the expected values in place of those that ties decide.

    Where two positions of a heatmap are equally high, rounding decides the position of a keypoint. So each row of a
    tensor (its last axis) that is not as expected may instead be as in one of `others`, results of a module with
    slightly different weights. Rows that are in none of them are kept, and differ.

    Args:
        expected: tensors of each image, by name.
        actual: tensors of each image, by name.
        others: alternative results; used only where something is not as expected.
        tolerance: maximum difference of equal numbers, in multiples of the largest.
    """
    settled = [dict(rows) for rows in actual]
    if all(_settled(*each, tolerance) for each in zip(expected, actual, strict=True)):
        return list(settled)
    for other in others:
        for image, rows, alternative in zip(expected, settled, other, strict=True):
            for name, value in rows.items():
                if _comparable(image.get(name), value) and _comparable(alternative.get(name), value):
                    same = _same_rows(alternative[name], value, tolerance)
                    rows[name] = torch.where(same, image[name], value)
    return list(settled)


def _settled(expected: Rows, actual: Rows, tolerance: float) -> bool:
    return all(
        not _comparable(expected.get(name), value) or bool(_same_rows(expected[name], value, tolerance).all())
        for name, value in actual.items()
    )


def _comparable(one: Tensor | None, other: Tensor) -> bool:
    return one is not None and one.shape == other.shape and one.dtype == other.dtype


def _same_rows(one: Tensor, other: Tensor, tolerance: float) -> Tensor:
    """Whether the rows of two tensors (..., C) are equal: bool (..., 1), or (N,) for tensors of one axis."""
    if not one.is_floating_point():
        same = one == other
    else:
        finite = one[one.isfinite()]
        scale = float(finite.abs().max()) if len(finite) else 0.0
        same = torch.isclose(one, other, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    return same.all(dim=-1, keepdim=True) if same.ndim > 1 else same
