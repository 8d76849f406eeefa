"""Looks at each plugin in a process of its own, to name one that ends every process that looks at it.

`os._exit`, an abort and a crash in C leave no exception behind, and no time limit stops C code that does not come back.
A normal start neither expects that nor writes down how far it came; `det plugins doctor` asks here.
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
# Ends at once, so that neither threads nor functions for the end of a program keep the child alive.
_CODE = """
import os, sys
sys.path[:] = sys.argv[1:]
from det_core import plugins
plugins.catalog()
os.write(1, b"whole\\n")
os._exit(0)
"""
_PATIENCE = 20.0  # seconds beyond the time that a plugin has to be imported


@dataclass(frozen=True)
class Culprit:
    """A distribution whose plugin ends or stops the process that looks at it, and how."""

    distribution: str
    version: str
    problem: str


def culprits(patience: float | None = None, code: str = _CODE) -> tuple[Culprit, ...]:
    """Those among the installed plugins, each looked at in a child process with all others switched off.

    Args:
        patience: seconds that a child may take; None: twenty more than a plugin has to be imported.
        code: what a child runs; it writes "whole" and a line break at its end.
    """
    installed = discovery.installed()
    names = [name for name, _ in installed]
    seconds = _PATIENCE + min(2 * discovery.patience(), 600) if patience is None else patience

    def look(name: str) -> str:
        return _end_of_child([other for other in names if other != name], seconds, code)

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        problems = list(pool.map(look, names))
    return tuple(Culprit(*each, problem) for each, problem in zip(installed, problems, strict=True) if problem)


def _end_of_child(switched_off: Sequence[str], seconds: float, code: str) -> str:
    """How a child ended that looks at the plugins which are not switched off; "" where it came to its end."""
    off = ",".join([*switched_off, *filter(None, [os.environ.get(discovery.DISABLE, "")])])
    environment = {**os.environ, discovery.DISABLE: off}
    # A file, for a grandchild may keep a pipe open for ever.
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
        pass  # nobody is left
    child.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
