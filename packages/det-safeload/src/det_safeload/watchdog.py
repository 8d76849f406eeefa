"""A time limit for untrusted code: code that hangs is named and stopped.

Python cannot stop a function from outside. On the main thread of a POSIX system a signal can: its handler runs between
two instructions of the code that hangs, a sleep, a socket, a lock or a loop, and raises. Code that catches this and
continues is stopped by the next one: the line behind its `except` raises once more, outside of the `try`.
Elsewhere (another thread, Windows, C code that does not return) the watchdog only names the code on stderr.
"""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import Any, TypeVar

__all__ = ["OURS", "Stop", "TimeLimitError", "Watchdog"]

T = TypeVar("T")

# Libraries whose C parts are set up once in a process: stopped half-way, they could never be imported again.
_UNSTOPPABLE = ("torch", "numpy")
_AGAIN = 0.5  # seconds between the first interruption and the next, for code that catches it
_NAMED = 1.0  # seconds until code that cannot be stopped is named on stderr


class TimeLimitError(Exception):
    """A function was stopped at its time limit."""


class Stop(BaseException):
    """Raised inside a function that is late. No `Exception`, which many a retry loop catches."""


class Watchdog:
    """Calls functions that each may take so many seconds; to be used in a `with` statement.

    One thread watches the clock and sends SIGALRM to the main thread, where the handler decides. A timer of the
    process (`signal.setitimer`) would do without the thread, but there is only one, and test runners use it.

    Args:
        seconds: time limit of each function, in seconds; infinite for no limit.
        advice: the end of messages on stderr, in which `{who}` stands for the name of the code that hangs.
        program: name of the program, the beginning of these messages; "" for none.

    Attributes:
        interrupted: the user pressed Ctrl-C; a `KeyboardInterrupt` without that was raised by the called function.
    """

    def __init__(self, seconds: float, advice: str = "", program: str = "") -> None:
        self.seconds, self.advice, self.program = seconds, advice, f"{program}: " if program else ""
        self._who, self._until = "", math.inf
        self._done, self._thread = threading.Event(), threading.Thread(target=self._watch, daemon=True)
        self.interrupted = False
        self._interrupts = self._sent = False
        self._stops = 0
        self._previous: Any = None
        self._previous_sigint: Any = None

    def call(self, who: str, function: Callable[..., T], *arguments: Any) -> T:
        """What the function returns; raises TimeLimitError if it was stopped."""
        self._stops = 0
        try:
            self._who, self._until = who, time.monotonic() + self.seconds
            try:
                return function(*arguments)
            finally:
                self._until = math.inf
        except Stop:
            self._until = math.inf
            if sys.gettrace() is _no_trace:
                sys.settrace(None)
            raise TimeLimitError(f"takes longer than {self.seconds:g} s") from None

    def __enter__(self) -> "Watchdog":
        if threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT)):
            self._previous_sigint = signal.signal(signal.SIGINT, self._interrupt)
        if math.isfinite(self.seconds):
            on_main_thread = threading.current_thread() is threading.main_thread()
            # A handler that was not set from Python (None) could not be put back.
            if on_main_thread and hasattr(signal, "pthread_kill") and signal.getsignal(signal.SIGALRM) is not None:
                self._previous = signal.signal(signal.SIGALRM, self._handle)
                self._interrupts = True
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._interrupts:
            signal.signal(signal.SIGALRM, self._previous)
        if self._previous_sigint is not None:
            signal.signal(signal.SIGINT, self._previous_sigint)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        self._previous_sigint(number, frame)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._sent:
            self._sent = False
            if time.monotonic() >= self._until and not _is_half_imported(_UNSTOPPABLE):
                self._stops += 1
                if self._stops > 1 and sys.gettrace() is None:
                    _stop_at_next_line(frame)
                raise Stop
        elif callable(self._previous):  # an alarm set by other code
            self._previous(number, frame)
        elif self._previous is signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _watch(self) -> None:
        pause = tick = min(0.1, self.seconds / 4)
        last_deadline = math.inf
        while not self._done.wait(pause):
            who, until = self._who, self._until
            late = time.monotonic() - until
            pause = _AGAIN if late >= 0 else tick
            if late < 0:
                continue
            if self._interrupts:
                self._sent = True
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
            if last_deadline != until and (late >= _NAMED or not self._interrupts):
                last_deadline = until
                message = f"{who} has been busy for more than {self.seconds:g} s; {self.advice.format(who=who)}"
                print(f"{self.program}{message}".rstrip("; "), file=sys.stderr, flush=True)  # noqa: T201 (the user waits)


def _stop_at_next_line(frame: FrameType | None) -> None:
    """Raise once more at the next line that a caller of `frame` begins: there its own `try` is over.

    Python takes a trace function away that raises, so this happens once.
    """

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            raise Stop
        return trace

    while frame is not None and frame.f_code not in OURS:
        if not frame.f_code.co_filename.startswith("<frozen"):  # Python's own imports clean up behind themselves
            frame.f_trace = trace
        frame = frame.f_back
    sys.settrace(_no_trace)


OURS: set[CodeType] = {Watchdog.call.__code__}
"""Functions between the watchdog and what it calls, which are not to be stopped half-way through a `with`."""


def _no_trace(frame: FrameType, event: str, argument: Any) -> None:
    """Leaves frames that are new alone."""


def _is_half_imported(names: tuple[str, ...]) -> bool:
    specs = (getattr(sys.modules.get(name), "__spec__", None) for name in names)
    return any(getattr(spec, "_initializing", False) for spec in specs)
