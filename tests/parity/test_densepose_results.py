"""Results, samplers and evaluations of DensePose give what the published ones gave."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("det_densepose")

Recorded = dict[str, Any]
HERE = Path(__file__).resolve().parent
# Values that derive from tables under CC BY-NC; they lie beside the clone, where there are any.
LOCAL = HERE.parents[2] / "shared" / "data" / "densepose"


@pytest.fixture(scope="module")
def recorded(operations: Callable[[str], Path]) -> Recorded:
    with np.load(operations("densepose_ops.npz")) as data:
        return {key: data[key] for key in data.files}


def under(recorded: Recorded, *prefixes: str) -> Recorded:
    wanted = {key: value for key, value in recorded.items() if key.startswith(prefixes)}
    if not wanted:
        pytest.skip(f"nothing is recorded under {', '.join(prefixes)}")
    return wanted


def test_results_equal_the_recorded_ones(
    recorded: Recorded, refpack: ModuleType, densepose_results: ModuleType
) -> None:
    got = densepose_results.conversions(recorded, refpack.unit_noise)
    assert refpack.compare(under(recorded, "convert", "cse/", "compressed/"), got) == []


def test_rotations_undone_equal_the_recorded_ones(
    recorded: Recorded, refpack: ModuleType, densepose_results: ModuleType
) -> None:
    got = densepose_results.rotations(recorded, refpack.unit_noise)
    assert refpack.compare(under(recorded, "rotate/"), got) == []


def test_tables_equal_the_recorded_ones(recorded: Recorded, refpack: ModuleType, densepose_results: ModuleType) -> None:
    assert refpack.compare(under(recorded, "tables/"), densepose_results.tables()) == []


def test_samplers_equal_the_recorded_ones(
    recorded: Recorded, refpack: ModuleType, densepose_results: ModuleType
) -> None:
    got = densepose_results.samplers(recorded, refpack.unit_noise)
    assert refpack.compare(under(recorded, "boot/"), got) == []


def test_alignment_and_packed_distances_equal_the_recorded_ones(
    recorded: Recorded, refpack: ModuleType, densepose_results: ModuleType
) -> None:
    got = densepose_results.alignment(recorded, refpack.unit_noise)
    assert refpack.compare(under(recorded, "alignment/", "packed/"), got) == []


@pytest.mark.parametrize("number", [0, 1, 2])
def test_evaluations_equal_the_recorded_ones(
    recorded: Recorded, refpack: ModuleType, densepose_results: ModuleType, number: int
) -> None:
    got = densepose_results.evaluations(recorded, refpack.unit_noise, number)
    assert refpack.compare(under(recorded, f"eval{number}/"), got) == []


def test_mirrored_values_equal_the_recorded_ones(
    recorded: Recorded, refpack: ModuleType, densepose_results: ModuleType
) -> None:
    tables, values = LOCAL / "UV_symmetry_transforms.mat", LOCAL / "mirror_ops.npz"
    if not tables.is_file() or not values.is_file():
        pytest.skip(f"{LOCAL} does not hold the published tables and what was recorded with them (CC BY-NC)")
    from det_densepose.bodies.matfile import read_mat

    content = read_mat(tables)
    uv = [np.stack(content[key]).astype(np.float32) for key in ("U_transforms", "V_transforms")]
    with np.load(values) as data:
        wanted = {key: data[key] for key in data.files}
    got = densepose_results.mirrored(recorded, refpack.unit_noise, (uv[0], uv[1]))
    assert refpack.compare(wanted, got) == []
