"""Attention with decomposed relative positions (Li et al., "MViTv2", 2022, section 4.1), linear in memory.

A query at row i and column j sees a key at row m and column n with `scale * q . k + q . R_h[i, m] + q . R_w[j, n]`. The
last two terms are inner products too: of the numbers `[q . R_h[i, :], q . R_w[j, :]]`, appended to the scaled query,
and of a one at place m and a one at place n, appended to the key. So torch's fused attention computes all of it, and
no matrix of tokens x tokens is ever made.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["decomposed_attention", "plain_attention", "relative_positions"]

Grid = tuple[int, int]
"""Rows and columns of tokens."""

_ALIGNED = 8  # fused kernels want widths that this divides


def relative_positions(table: Tensor, queries: int, keys: int) -> Tensor:
    """What the table says of each pair of places on one axis, (queries, keys, C).

    Args:
        table: (L, C), by distance, from the most negative to the most positive; resampled where L is not
            2 max(queries, keys) - 1.
        queries: places of the queries.
        keys: places of the keys, spread over the same length.
    """
    longest: Any = torch.sym_max(queries, keys)
    # At the same length this gives back the table itself, bit for bit; a branch would tie exported programs to a size.
    resampled = F.interpolate(table.t()[None], size=2 * longest - 1, mode="linear")[0].t()
    per_query: Any = torch.sym_max(keys / queries, 1.0)
    per_key: Any = torch.sym_max(queries / keys, 1.0)
    place_q = torch.arange(queries, device=table.device)[:, None] * per_query
    place_k = torch.arange(keys, device=table.device)[None, :] * per_key
    distance = (place_q - place_k) + (keys - 1) * per_key
    return resampled[distance.long()]


def _bias(q: Tensor, tables: tuple[Tensor, Tensor], query_grid: Grid, key_grid: Grid) -> tuple[Tensor, Tensor]:
    """For each query, what it adds for each row of keys, and for each column: (B, heads, rows, columns, ...)."""
    by_place = q.unflatten(2, query_grid)
    rows = relative_positions(tables[0], query_grid[0], key_grid[0])
    columns = relative_positions(tables[1], query_grid[1], key_grid[1])
    return (
        torch.einsum("bnhwc,hkc->bnhwk", by_place, rows.to(q.dtype)),
        torch.einsum("bnhwc,wkc->bnhwk", by_place, columns.to(q.dtype)),
    )


def decomposed_attention(
    q: Tensor, k: Tensor, v: Tensor, tables: tuple[Tensor, Tensor] | None, query_grid: Grid, key_grid: Grid
) -> Tensor:
    """Attention over two grids of tokens, (B, heads, query tokens, C).

    Args:
        q: (B, heads, query tokens, C), not scaled.
        k: (B, heads, key tokens, C).
        v: as `k`.
        tables: relative positions of rows and of columns, each (L, C); None: none.
        query_grid: rows and columns of the queries.
        key_grid: rows and columns of the keys.
    """
    if tables is None:
        return F.scaled_dot_product_attention(q, k, v)
    width, (rows, columns) = q.shape[-1], key_grid
    by_row, by_column = (part.flatten(2, 3) for part in _bias(q, tables, query_grid, key_grid))
    wide_q = torch.cat((q * width**-0.5, by_row, by_column), dim=-1)
    row = torch.eye(rows, dtype=k.dtype, device=k.device)[:, None].expand(-1, columns, -1)
    column = torch.eye(columns, dtype=k.dtype, device=k.device)[None].expand(rows, -1, -1)
    place = torch.cat((row, column), dim=-1).flatten(0, 1)
    wide_k = torch.cat((k, place.expand(*k.shape[:2], -1, -1)), dim=-1)
    spare = -(width + rows + columns) % _ALIGNED
    # Values as wide as the keys: fused kernels ask for it.
    found = F.scaled_dot_product_attention(
        F.pad(wide_q, (0, spare)), F.pad(wide_k, (0, spare)), F.pad(v, (0, rows + columns + spare)), scale=1.0
    )
    return found[..., :width]


def plain_attention(
    q: Tensor, k: Tensor, v: Tensor, tables: tuple[Tensor, Tensor] | None, query_grid: Grid, key_grid: Grid
) -> Tensor:
    """The same as the formula reads, with the whole matrix of query tokens x key tokens: to compare with."""
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if tables is not None:
        by_row, by_column = _bias(q, tables, query_grid, key_grid)
        bias = by_row[..., :, None] + by_column[..., None, :]
        logits = logits + bias.flatten(4, 5).flatten(2, 3)
    return logits.softmax(dim=-1) @ v
