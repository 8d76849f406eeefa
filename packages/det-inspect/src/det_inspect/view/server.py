"""The server of `det view`: a socket, and the end by a signal."""

import ipaddress
import secrets
import socket
from typing import Any

import uvicorn
from det_core.cli.listening import listening_socket
from det_core.cli.output import echo

from det_inspect.view.app import make_app
from det_inspect.view.guard import Guard
from det_inspect.view.session import Session

__all__ = ["Server"]

_FIX = "give another --host or --port; port 0 is any that is free"


class Server(uvicorn.Server):
    """A server of one session; beyond loopback it needs a random token, which its address has.

    Args:
        session: session whose pages are served.
        host: address to listen on, such as "127.0.0.1".
        port: 0 for any free one.

    Attributes:
        url: address of the page, with the token if there is one.
    """

    def __init__(self, session: Session, host: str = "127.0.0.1", port: int = 0) -> None:
        self._session = session
        self._socket = listening_socket(host, port, "det view", _FIX)
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
