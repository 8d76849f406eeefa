"""Single operations of DensePose give what the published ones gave."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("det_densepose")

Recorded = dict[str, Any]


@pytest.fixture(scope="module")
def recorded(operations: Callable[[str], Path]) -> Recorded:
    with np.load(operations("densepose_ops.npz")) as data:
        return {key: data[key] for key in data.files}


@pytest.fixture(scope="module")
def losses(recorded: Recorded, refpack: ModuleType, densepose_losses: ModuleType) -> Recorded:
    found: Recorded = densepose_losses.reproduced(recorded, refpack.unit_noise)
    return found


def test_predictions_at_points_equal_the_recorded_ones(
    recorded: Recorded, losses: Recorded, refpack: ModuleType
) -> None:
    assert refpack.compare(under(recorded, "points/"), losses) == []


def test_resampled_parts_equal_the_recorded_ones(recorded: Recorded, losses: Recorded, refpack: ModuleType) -> None:
    wanted = under(recorded, "resample/")
    assert wanted
    assert all(np.array_equal(value, losses[key]) for key, value in wanted.items())


def test_losses_and_their_gradients_equal_the_recorded_ones(
    recorded: Recorded, losses: Recorded, refpack: ModuleType
) -> None:
    wanted = under(recorded, "loss_")
    assert wanted
    assert refpack.compare(wanted, losses) == []


def test_absent_gradients_of_the_record_are_zero_here(recorded: Recorded, losses: Recorded) -> None:
    here = {key: value for key, value in losses.items() if "/grad_" in key}
    assert here
    extra = [key for key in here if key not in recorded and f"{key}/sample" not in recorded]
    assert all(not here[key].any() for key in extra)


def under(recorded: Recorded, prefix: str) -> Recorded:
    return {key: value for key, value in recorded.items() if key.startswith(prefix)}
