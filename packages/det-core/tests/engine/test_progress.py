import io

import pytest
import torch
from det_core.engine import progress
from det_core.engine.progress import Display, Meter, memory_in_use
from rich.console import Console

SCALARS = {"loss": 1.5, "images_per_second": 12.0, "data_wait": 0.25, "memory": 1.5}


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when told to."""

    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def lines(display):
    return display.console.file.getvalue().splitlines()


def test_speed_and_waiting_are_counted_between_two_readings(clock):
    meter = Meter()
    with meter.waiting():
        clock.now += 1
    clock.now += 3
    meter.count(8)
    assert meter.read() == {"images_per_second": 2.0, "data_wait": 0.25}
    clock.now += 2
    meter.count(2)
    assert meter.read() == {"images_per_second": 1.0, "data_wait": 0.0}


def test_evaluation_does_not_count_as_training_time(clock):
    meter = Meter()
    clock.now += 1
    with meter.paused():
        clock.now += 100
    clock.now += 1
    meter.count(4)
    assert meter.read()["images_per_second"] == 2.0


def test_progress_without_terminal_prints_line_every_ten_seconds(clock):
    display = Display(100, Console(file=io.StringIO(), width=200))
    with display:
        for step in range(1, 31):
            clock.now += 1
            display.advance(step, SCALARS)
    assert [line.split()[1] for line in lines(display)] == ["1/100", "12/100", "23/100"]


def test_progress_line_has_loss_speed_waiting_memory_eta(clock):
    display = Display(100, Console(file=io.StringIO(), width=200))
    with display:
        clock.now += 5
        display.advance(40, SCALARS)
        clock.now += 20
        display.advance(50, SCALARS)
    assert lines(display)[0] == "step 40/100  loss 1.500  12.0 img/s  25% waiting for data  1.5 GiB"
    # 10 steps in 20 seconds, 50 more to go; the first step of a run only starts the clock.
    assert lines(display)[-1] == ("step 50/100  loss 1.500  12.0 img/s  25% waiting for data  1.5 GiB  0:01:40 left")


def test_terminal_gets_a_bar_with_the_same_numbers(clock):
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with Display(100, console) as display:
        display.advance(50, SCALARS)
    shown = console.file.getvalue()
    assert "50/100" in shown
    assert "12.0 img/s" in shown


def test_progress_tracked_items_keep_their_order(clock):
    display = Display(console=Console(file=io.StringIO()))
    with display:
        assert list(display.track([3, 1, 2], "count")) == [3, 1, 2]
        assert list(display.track(iter("ab"), "unknown length")) == ["a", "b"]
    assert lines(display) == []


def test_memory_is_reported_in_gibibytes():
    assert 0.01 < memory_in_use(torch.device("cpu")) < 1000


def test_track_prints_the_time_left_every_ten_seconds(clock):
    display = Display(console=Console(file=io.StringIO(), width=200))
    with display:
        for _ in display.track(iter(range(8)), "predict", total=8):
            clock.now += 6
    assert lines(display) == [
        "predict 2/8  0:00:36 left",
        "predict 4/8  0:00:24 left",
        "predict 6/8  0:00:12 left",
        "predict 8/8  0:00:00 left",
    ]
