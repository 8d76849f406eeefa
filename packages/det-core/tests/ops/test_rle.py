"""Run-length encoded masks, compared with pycocotools where that can be trusted."""

import numpy as np
import pytest
import torch
from det_core.ops.rle import rle_counts, rle_to_mask
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask


def test_runs_go_down_the_columns_and_start_outside() -> None:
    # 2 rows, 3 columns: one pixel out, two in, three out.
    mask = rle_to_mask(rle_counts({"size": [2, 3], "counts": [1, 2, 3]}, (2, 3)), (2, 3))
    assert mask.dtype == torch.bool
    assert mask.int().tolist() == [[0, 1, 0], [1, 0, 0]]


def test_runs_may_be_empty() -> None:
    assert rle_to_mask(rle_counts({"size": [1, 2], "counts": [0, 2]}, (1, 2)), (1, 2)).tolist() == [[True, True]]


@given(st.integers(1, 70), st.integers(1, 70), st.floats(0, 1), st.integers(0, 1000))
def test_packed_runs_of_any_mask_are_read_back(height: int, width: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    for rle in (packed, packed | {"counts": packed["counts"].decode()}):
        assert torch.equal(rle_to_mask(rle_counts(rle, (height, width)), (height, width)), torch.from_numpy(mask))


@pytest.mark.parametrize(
    "counts", ["", "5", "52", "zzzz", "zzzzzzzzzzzz", "P", "\xe9", "!", "4J4J", [-1, 7], [6.0], None, 6]
)
def test_runs_that_do_not_cover_the_image_are_refused(counts: object) -> None:
    with pytest.raises(ValueError, match="has an RLE"):
        rle_counts({"size": [2, 3], "counts": counts}, (2, 3))
