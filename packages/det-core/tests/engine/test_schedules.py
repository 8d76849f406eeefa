import io

import pytest
import standins
from det_core.engine import read_scalars, train
from det_core.engine.schedules import OneCycle, WarmupCosine, WarmupMultiStep, WarmupPoly, WarmupSteps, warmup_factor
from det_core.errors import ConfigError
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console


def test_warmup_factor_rises_linearly_to_one():
    assert [warmup_factor(step, 4, 0.2) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_no_warmup_starts_at_full_rate():
    assert warmup_factor(0, 0, 0.001) == 1.0


def test_published_schedule_has_its_published_factors():
    # 90k steps, milestones 60k and 80k, warmup 1000 from 0.001: the "1x" schedule of the detection literature.
    schedule = WarmupMultiStep(milestones=(60_000, 80_000))
    expected = {0: 0.001, 500: 0.5005, 1000: 1.0, 59_999: 1.0, 60_000: 0.1, 79_999: 0.1, 80_000: 0.01, 89_999: 0.01}
    assert {step: schedule(step) for step in expected} == pytest.approx(expected)


def test_cosine_passes_the_hand_worked_points():
    schedule = WarmupCosine(steps=100, warmup=0)
    # cos(0) = 1, cos(pi/3) = 1/2, cos(pi/2) = 0, cos(2 pi/3) = -1/2.
    assert [schedule(0), schedule(50), schedule(100)] == pytest.approx([1.0, 0.5, 0.0])
    assert WarmupCosine(steps=3, warmup=0)(1) == pytest.approx(0.75)
    assert WarmupCosine(steps=3, warmup=0)(2) == pytest.approx(0.25)


def test_cosine_ends_at_its_end_and_stays_there():
    schedule = WarmupCosine(steps=10, end=0.1, warmup=0)
    assert schedule(5) == pytest.approx(0.55)
    assert schedule(10) == schedule(1000) == pytest.approx(0.1)


def test_warmup_multiplies_the_cosine():
    assert WarmupCosine(steps=4, warmup=4, warmup_start=0.0)(2) == pytest.approx(0.5 * 0.5)


@given(st.integers(1, 500), st.integers(0, 200), st.floats(0, 1), st.integers(0, 1000))
def test_factor_lies_between_zero_and_one(steps, warmup, start, step):
    assert 0.0 <= WarmupCosine(steps=steps, warmup=warmup, warmup_start=start)(step) <= 1.0
    multi = WarmupMultiStep(milestones=(steps,), warmup=warmup, warmup_start=start)
    assert 0.0 <= multi(step) <= 1.0


@pytest.mark.parametrize(
    ("build", "where"),
    [
        (lambda: WarmupMultiStep(milestones=(20, 10)), "WarmupMultiStep.milestones"),
        (lambda: WarmupMultiStep(warmup=-1), "WarmupMultiStep.warmup"),
        (lambda: WarmupCosine(steps=10, warmup_start=1.5), "WarmupCosine.warmup_start"),
        (lambda: WarmupCosine(steps=0), "WarmupCosine.steps"),
    ],
)
def test_schedule_that_makes_no_sense_is_refused(build, where):
    with pytest.raises(ConfigError) as caught:
        build()
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (WarmupMultiStep, {"milestones": [3, 5], "gamma": 0.5, "warmup": 2}),
        (WarmupSteps, {"steps": 6, "decays": 2, "gamma": 0.5, "warmup": 2}),
        (WarmupCosine, {"steps": 6, "warmup": 2}),
        (WarmupPoly, {"steps": 6, "power": 2.0, "end": 0.1, "warmup": 2}),
        (OneCycle, {"steps": 6, "rise": 0.5}),
    ],
)
def test_schedule_of_a_recipe_sets_each_learning_rate(tmp_path, build, options):
    schedule = build(**options)
    node = {"type": f"det_core.engine:{build.__name__}", **options}
    node.pop("steps", None)  # those of the training
    train(standins.recipe(steps=6, schedule=node), tmp_path, console=Console(file=io.StringIO()))
    rates = {row["step"]: row["lr"] for row in read_scalars(tmp_path / "scalars.jsonl") if "lr" in row}
    assert rates == pytest.approx({step + 1: 0.01 * schedule(step) for step in range(6)})
    assert len(set(rates.values())) > 2
