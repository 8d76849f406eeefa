"""Attention with decomposed relative positions (Li et al., "MViTv2", 2022, section 4.1), linear in memory.

The attention logit of the query at (i, j) and the key at (m, n) is `scale * q . k + q . R_h[i, m] + q . R_w[j, n]`. The
last two terms are inner products too: of `[q . R_h[i, :], q . R_w[j, :]]`, appended to the scaled query, and of one-hot
vectors of m and n, appended to the key. So torch's fused attention computes everything, without a matrix of
tokens x tokens.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["decomposed_attention", "plain_attention", "relative_positions"]

Grid = tuple[int, int]
"""Rows and columns of tokens."""

_ALIGNED = 8  # fused kernels need head widths that are multiples of this


def relative_positions(table: Tensor, queries: int, keys: int) -> Tensor:
    """Relative-position embeddings of each pair of positions on one axis, (queries, keys, C).

    Args:
        table: embeddings (L, C) by distance, from the most negative to the most positive; resampled where L is not
            2 max(queries, keys) - 1.
        queries: number of positions of queries.
        keys: number of key positions, spread over the same length.
    """
    longest: Any = torch.sym_max(queries, keys)
    # At the same length this returns the table itself, bit for bit; a branch would fix the size of exported programs.
    resampled = F.interpolate(table.t()[None], size=2 * longest - 1, mode="linear")[0].t()
    per_query: Any = torch.sym_max(keys / queries, 1.0)
    per_key: Any = torch.sym_max(queries / keys, 1.0)
    place_q = torch.arange(queries, device=table.device)[:, None] * per_query
    place_k = torch.arange(keys, device=table.device)[None, :] * per_key
    distance = (place_q - place_k) + (keys - 1) * per_key
    return resampled[distance.long()]


def _bias(q: Tensor, tables: tuple[Tensor, Tensor], query_grid: Grid, key_grid: Grid) -> tuple[Tensor, Tensor]:
    """Position terms of each query for each row and each column of keys: (B, heads, rows, columns, ...)."""
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
        q: queries (B, heads, query tokens, C), not scaled.
        k: keys (B, heads, key tokens, C).
        v: values (B, heads, key tokens, C).
        tables: relative-position embeddings of rows and columns, each (L, C); None for no position terms.
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
    # Values as wide as the keys, as fused kernels require.
    output = F.scaled_dot_product_attention(
        F.pad(wide_q, (0, spare)), F.pad(wide_k, (0, spare)), F.pad(v, (0, rows + columns + spare)), scale=1.0
    )
    return output[..., :width]


def plain_attention(
    q: Tensor, k: Tensor, v: Tensor, tables: tuple[Tensor, Tensor] | None, query_grid: Grid, key_grid: Grid
) -> Tensor:
    """The same by the formula, with the whole matrix of query tokens x key tokens: a reference."""
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if tables is not None:
        by_row, by_column = _bias(q, tables, query_grid, key_grid)
        bias = by_row[..., :, None] + by_column[..., None, :]
        logits = logits + bias.flatten(4, 5).flatten(2, 3)
    return logits.softmax(dim=-1) @ v
