"""Block tables, the channels of blocks, and anchors by k-means."""

import numpy as np
import pytest
import torch
from det_core.errors import ConfigError, DataError
from det_mobile.anchors import cluster_sizes
from det_mobile.fbnet import FBNet, FBNetBlocks
from det_mobile.fbnet.layers import divisible
from det_mobile.fbnet.spelling import stages_of


def test_divisible_rounds_up_where_a_twentieth_is_lost():
    assert [divisible(x, 8) for x in (276, 84, 40, 3, 17)] == [280, 88, 40, 8, 24]
    assert divisible(17, 1) == 17


def test_block_table_as_line_equals_list_of_entries():
    line = stages_of("conv_k3 16 s2; ir_k3 8 e1 | ir_k5 24 s2 x2 e3", "here")
    entries = [
        [["conv_k3", 16, 2, 1], ["ir_k3", 8, 1, 1, {"expansion": 1}]],
        [["ir_k5", 24, 2, 2, {"expansion": 3}]],
    ]
    assert line == stages_of(entries, "here")
    assert [block.stride for block in line[1]] == [2, 1]


@pytest.mark.parametrize(
    "arch", ["FBNetV3_Z", {"trunk": []}, {"trunk": "ir_k3"}, {"trunk": "ir_k9 8"}, {"legs": "ir_k3 8"}]
)
def test_unknown_architecture_is_refused(arch):
    with pytest.raises(ConfigError):
        FBNet(FBNetBlocks(arch))


def test_trunk_maps_have_sizes_of_their_strides():
    trunk = FBNet(FBNetBlocks({"trunk": "conv_k3_hs 8 s2; aa_ir_k3 8 s2 e2 | ir_k5_sehsig_hs 16 s2 e2"}))
    shapes = {name: tuple(level.shape) for name, level in trunk(torch.zeros(2, 3, 33, 48)).items()}
    assert shapes == {"trunk0": (2, 8, 9, 12), "trunk1": (2, 16, 5, 6)}
    assert trunk.strides == {"trunk0": 4, "trunk1": 8}


def test_clusters_of_two_sizes_are_these_by_rising_area():
    sizes = np.array([[40.0, 20.0], [10.0, 10.0]] * 5)
    assert cluster_sizes(sizes, 2).tolist() == [[10.0, 10.0], [40.0, 20.0]]


def test_more_clusters_than_sizes_are_refused():
    with pytest.raises(DataError, match="1 different sizes"):
        cluster_sizes(np.ones((4, 2)), 2)
