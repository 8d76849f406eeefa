"""The watchdog stops what is late and leaves everybody else's alarms alone."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from det_safeload.watchdog import TimeLimitError, Watchdog

posix = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system has no SIGALRM")


def test_function_result_or_error_in_time_is_passed_on():
    with Watchdog(5) as watchdog:
        assert watchdog.call("somebody", max, 3, 4) == 4
        with pytest.raises(ZeroDivisionError):
            watchdog.call("somebody", divmod, 1, 0)


@posix
def test_late_function_is_stopped_and_next_has_full_time():
    with Watchdog(1) as watchdog:
        with pytest.raises(TimeLimitError, match=r"takes longer than 1 s"):
            watchdog.call("somebody", time.sleep, 60)
        assert watchdog.call("another", time.sleep, 0.4) is None


@posix
def test_one_that_swallows_the_interruption_gets_another():
    def stubborn():
        for _ in range(2):
            try:
                time.sleep(60)
            except BaseException:
                continue
        time.sleep(60)

    with Watchdog(0.2) as watchdog, pytest.raises(TimeLimitError):
        watchdog.call("somebody", stubborn)


@posix
@pytest.mark.parametrize(
    "body",
    [
        "while True:\n        try: time.sleep(60)\n        except BaseException: pass",
        "while True:\n        try:\n            while True: pass\n        except BaseException:\n            continue",
        "while True:\n        with contextlib.suppress(BaseException): time.sleep(60)",
        "for _ in range(10**9):\n        try: deeper()\n        except: x = 1",
        "try: time.sleep(60)\n    except BaseException:\n        while True: time.sleep(1)",
        "try: time.sleep(60)\n    finally:\n        while True:\n            try: time.sleep(60)\n"
        "            except BaseException: pass",
    ],
)
def test_function_swallowing_interruptions_is_stopped_later(body):
    names = {"time": time, "contextlib": contextlib}
    exec(f"def deeper():\n    time.sleep(60)\ndef stubborn():\n    {body}", names)
    with Watchdog(0.2) as watchdog:
        with pytest.raises(TimeLimitError):
            watchdog.call("somebody", names["stubborn"])
        assert sys.gettrace() is None
        assert watchdog.call("another", lambda: [1, 2]) == [1, 2]


@posix
def test_unstoppable_function_is_named_on_stderr_once(capsys):
    def deaf():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(2)

    try:
        with Watchdog(0.2, "do without {who}", "det") as watchdog:
            watchdog.call("somebody", deaf)
        assert capsys.readouterr().err == "det: somebody has been busy for more than 0.2 s; do without somebody\n"
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def test_own_interruption_differs_from_user_interruption():
    with Watchdog(5) as watchdog:
        with pytest.raises(KeyboardInterrupt):
            watchdog.call("somebody", _raise, KeyboardInterrupt)
        assert not watchdog.interrupted
        with pytest.raises(KeyboardInterrupt):
            watchdog.call("somebody", signal.raise_signal, signal.SIGINT)
        assert watchdog.interrupted


def _raise(error):
    raise error


@posix
def test_foreign_alarm_reaches_its_handler_which_is_restored():
    rung = []

    def handler(number, frame):
        rung.append(number)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with Watchdog(5) as watchdog:
            watchdog.call("somebody", os.kill, os.getpid(), signal.SIGALRM)
        assert rung == [signal.SIGALRM]
        assert signal.getsignal(signal.SIGALRM) is handler
    finally:
        signal.signal(signal.SIGALRM, before)


@posix
def test_default_alarm_still_ends_program():
    code = (
        "import signal, time; from det_safeload.watchdog import Watchdog\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.2)\n"
        "with Watchdog(30) as watchdog: watchdog.call('somebody', time.sleep, 20)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert run.returncode == -signal.SIGALRM
