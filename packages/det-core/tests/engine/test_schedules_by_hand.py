"""Schedules, and groups of parameters."""

import pytest
import torch
from det_core.engine import OneCycle, ParamGroups, WarmupPoly, WarmupSteps
from det_core.errors import ConfigError


def test_warmup_steps_fall_at_equal_distances():
    schedule = WarmupSteps(steps=40, decays=3, gamma=0.5, warmup=0)
    assert [schedule(step) for step in (0, 9, 10, 20, 30, 39, 99)] == [1, 1, 0.5, 0.25, 0.125, 0.125, 0.125]


def test_warmup_poly_by_hand():
    schedule = WarmupPoly(steps=100, power=2.0, end=0.1, warmup=10, warmup_start=0.0)
    assert schedule(50) == pytest.approx(0.25)
    assert schedule(5) == pytest.approx(0.5 * 0.95**2)
    assert schedule(80) == schedule(100) == schedule(200) == 0.1


def test_one_cycle_as_torch():
    schedule = OneCycle(steps=100, rise=0.3, start=0.04, end=4e-6)
    assert schedule(0) == pytest.approx(0.04)
    assert schedule(30) == pytest.approx(1.0)
    assert schedule(15) == pytest.approx(0.52)
    assert schedule(100) == pytest.approx(4e-6)
    with pytest.raises(ConfigError, match=r"OneCycle\.rise"):
        OneCycle(steps=10, rise=1.0)


def test_lr_factor_of_the_last_part_of_a_name():
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Conv2d(1, 1, 1)})
    groups = ParamGroups(lr_factor_of={"weight": 0.5}, bias_lr_factor=2.0)(model)
    assert sorted((group.get("lr_factor", 1), len(group["params"])) for group in groups) == [(0.5, 2), (2.0, 2)]
