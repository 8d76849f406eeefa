"""Probes each plugin in a process of its own, to identify those that end any process that loads them.

`os._exit`, an abort and a crash in C leave no exception behind, and no timeout stops C code that hangs. A normal start
neither expects that nor records its progress; `det plugins doctor` runs this probe.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from det_core.plugins import discovery

__all__ = ["Culprit", "culprits"]

_WHOLE = b"whole\n"
# Exits immediately, so that neither threads nor exit handlers keep the child alive.
_CODE = """
import os, sys
sys.path[:] = sys.argv[1:]
from det_core import plugins
plugins.catalog()
os.write(1, b"whole\\n")
os._exit(0)
"""
_EXTRA_SECONDS = 20.0  # beyond the import timeout of a plugin


@dataclass(frozen=True)
class Culprit:
    """A distribution whose plugin ends or hangs any process that loads it, and how."""

    distribution: str
    version: str
    problem: str


def culprits(timeout: float | None = None, code: str = _CODE) -> tuple[Culprit, ...]:
    """The culprits among the installed plugins, each probed in a child process with all others disabled.

    Args:
        timeout: seconds that a child may take; None for twenty more than the import timeout of a plugin.
        code: code of a child; it writes "whole" and a line break at its end.
    """
    installed = discovery.installed()
    names = [name for name, _ in installed]
    seconds = _EXTRA_SECONDS + min(2 * discovery.time_limit(), 600) if timeout is None else timeout

    def check(name: str) -> str:
        return _failure_of_child([other for other in names if other != name], seconds, code)

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        problems = list(pool.map(check, names))
    return tuple(Culprit(*each, problem) for each, problem in zip(installed, problems, strict=True) if problem)


def _failure_of_child(disabled: Sequence[str], seconds: float, code: str) -> str:
    """How a child failed that loads the plugins which are not disabled; "" for success."""
    off = ",".join([*disabled, *filter(None, [os.environ.get(discovery.DISABLE, "")])])
    environment = {**os.environ, discovery.DISABLE: off}
    # A file, as a grandchild may keep a pipe open forever.
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [sys.executable, "-c", code, *sys.path],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        try:
            code_of_exit = child.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"stops every command: it does not come back within {seconds:g} s, and cannot be interrupted"
        finally:
            _end(child)
        output.seek(0)
        if output.read(1_000_000).endswith(_WHOLE):
            return ""
    if code_of_exit < 0:
        return f"crashes every command: {_signal_name(-code_of_exit)} when it is imported or lists what it offers"
    return f"ends every command: the process exits with {code_of_exit} when it is imported or lists what it offers"


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End a child and what it started."""
    kill: Callable[[int, int], None] | None = getattr(os, "killpg", None)
    try:
        if kill is not None:
            kill(child.pid, signal.SIGKILL)
        else:
            child.kill()
    except OSError:
        pass  # all have ended
    child.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
