"""Runs untrusted code within a time limit; its result is what it returns, or one error of plain text.

An exception of such code may raise again when its text is read, `KeyboardInterrupt` may be its own, a mapping may never
end. So whatever is called, read or iterated of it is called, read and iterated in here, with stdout kept clean.
"""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from det_safeload.printable import described
from det_safeload.watchdog import OURS, Stop, TimeLimitError, Watchdog

__all__ = ["ForeignError", "LeftThreads", "foreign_code", "isolated"]

T = TypeVar("T")
_NAME_OF: Any = ImportError.__dict__["name"]


class ForeignError(Exception):
    """What foreign code raised, as plain text.

    Args:
        text: message as one printable line.
        late: it was stopped at its time limit.
        missing: the module that an import did not find, "" otherwise.
    """

    def __init__(self, text: str, late: bool = False, missing: str = "") -> None:
        self.text, self.late, self.missing = text, late, missing
        super().__init__(text)


def isolated(watchdog: Watchdog, who: str, function: Callable[..., T], *arguments: object) -> T:
    """What the function returns.

    Raises:
        ForeignError: it raised anything at all, ended the program, or took too long.
        KeyboardInterrupt: the user pressed Ctrl-C.
    """
    try:
        returned: T = watchdog.call(who, _inside, watchdog, who, function, arguments)
        return returned
    except TimeLimitError as error:
        raise ForeignError(str(error), late=True) from None


def _inside(watchdog: Watchdog, who: str, function: Callable[..., T], arguments: tuple[object, ...]) -> T:
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return function(*arguments)
    except Stop:
        raise
    except BaseException as error:
        if issubclass(type(error), KeyboardInterrupt) and watchdog.interrupted:
            _note_interruption(watchdog, who)
            raise
        plain = ForeignError(_in_plain_text(error), missing=_missing(error))
    raise plain


OURS.add(_inside.__code__)


def _in_plain_text(error: BaseException) -> str:
    try:
        text = described(error)
    except Stop:
        raise
    except BaseException:  # SystemExit or an interruption, raised by the `str` of an exception
        return "an exception whose text cannot be read"
    return text if issubclass(type(error), Exception) else f"RuntimeError: tried to end the program: {text}"


def _missing(error: BaseException) -> str:
    """The module that was not found."""
    if not issubclass(type(error), ModuleNotFoundError):
        return ""
    name = _NAME_OF.__get__(error)  # `error.name` itself may be anything in a subclass
    return name if type(name) is str else ""


def _note_interruption(watchdog: Watchdog, who: str) -> None:
    """Name on stderr the code that was running when the user pressed Ctrl-C."""
    message = f"{watchdog.program}interrupted while {who} was imported; {watchdog.advice.format(who=who)}"
    print(message.rstrip("; "), file=sys.stderr, flush=True)  # noqa: T201 (the program is about to end)


@contextlib.contextmanager
def foreign_code() -> Iterator[None]:
    """While code that is not ours is imported: what it prints goes to stderr, an exit of its becomes an error."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise RuntimeError(f"tried to end the program: {described(error)}") from error


class LeftThreads:
    """The threads that keep a process alive and were not there before."""

    def __init__(self) -> None:
        self._before = set(map(id, threading.enumerate()))

    def names(self) -> list[str]:
        """Their names; a thread that ends by itself within a moment is none of them."""
        threads = [each for each in threading.enumerate() if id(each) not in self._before and not each.daemon]
        for thread in threads:
            thread.join(0.05)
        return [str(thread.name) for thread in threads if thread.is_alive()]
