"""What commands that serve pages or requests share: the socket they listen at, and their end by a signal."""

import signal
import socket
from typing import Protocol

from det_core.errors import ConfigError

__all__ = ["listening_socket", "run_until_signal"]


class Runnable(Protocol):
    """A server that ends by itself when a signal has asked for it, such as `uvicorn.Server`."""

    def run(self) -> None:
        """Answer requests until then."""


def listening_socket(host: str, port: int, source: str, fix: str) -> socket.socket:
    """A TCP socket bound to an address.

    Args:
        host: name or address of this machine.
        port: 0 for any free one.
        source: option or command that errors name.
        fix: advice at the end of error messages.

    Raises:
        ConfigError: there is no such address, or it is in use.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With its protocol: asyncio disables Nagle's algorithm, which delays answers by 40 ms, for TCP by name alone.
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
    except OSError as error:
        raise ConfigError(source, f"cannot listen at {host}:{port}", error.strerror or str(error), fix) from error
    return bound


def run_until_signal(server: Runnable) -> None:
    """Run a server until SIGTERM or SIGINT."""
    # uvicorn raises the signal again when it is done, which would end the process without its exit code.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run()
