"""The server of `det view`: a socket, and the end by a signal."""

import ipaddress
import secrets
import signal
import socket
from typing import Any

import uvicorn
from det_core.cli.output import echo
from det_core.errors import ConfigError

from det_inspect.view.app import make_app
from det_inspect.view.guard import Guard
from det_inspect.view.session import Session

__all__ = ["Server", "run_until_signal"]


class Server(uvicorn.Server):
    """A server of one session; beyond loopback it needs a random token, which its address has.

    Args:
        session: what is shown.
        host: where to listen.
        port: 0 for any free one.

    Attributes:
        url: address of the page, with the token if there is one.
    """

    def __init__(self, session: Session, host: str = "127.0.0.1", port: int = 0) -> None:
        self._session = session
        self._socket = _bound(host, port)
        address, port = self._socket.getsockname()[:2]
        local = ipaddress.ip_address(address.partition("%")[0]).is_loopback
        token = "" if local else secrets.token_urlsafe(24)
        hosts = {host.lower(), "localhost", "127.0.0.1", "::1"} if local else set()
        named = socket.gethostname() if not local and address in ("0.0.0.0", "::") else address
        self.url = f"http://{f'[{named}]' if ':' in named else named}:{port}/{f'?token={token}' if token else ''}"
        super().__init__(
            uvicorn.Config(
                Guard(make_app(session), hosts, token),
                loop="asyncio",
                ws="none",
                log_level="warning",
                access_log=False,
                server_header=False,
                limit_concurrency=256,
                timeout_graceful_shutdown=2,
            )
        )

    async def startup(self, sockets: Any = None) -> None:
        """Print the address once it listens."""
        await super().startup(sockets)
        echo(f"{self._session.title}: {self.url}  (Ctrl-C ends it)")

    def run(self, sockets: Any = None) -> None:
        """Answer requests until a signal, then end the threads of the session."""
        try:
            super().run([self._socket])
        finally:
            self._session.close()


def run_until_signal(server: Server) -> None:
    """Run a server until SIGTERM or SIGINT."""
    # uvicorn raises the signal again when it is done, which would end the process without its exit code.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Named TCP, so that asyncio sends small answers at once.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
    except OSError as error:
        fix = "give another --host or --port; port 0 is any that is free"
        raise ConfigError("det view", f"cannot listen at {host}:{port}", error.strerror or str(error), fix) from error
    return bound
