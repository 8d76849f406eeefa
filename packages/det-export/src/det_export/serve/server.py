"""The server: a socket, a clock for clients that send nothing, signals, and a watch over the files of models."""

import asyncio
import contextlib
import gc
import ipaddress
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import uvicorn
from det_core.cli.listening import listening_socket
from det_core.cli.output import echo
from det_core.errors import ConfigError
from uvicorn.protocols.http.h11_impl import H11Protocol

from det_export.serve.app import make_app
from det_export.serve.guard import Guard
from det_export.serve.metrics import Metrics
from det_export.serve.served import ServedModel
from det_export.serve.settings import Limits

__all__ = ["Server", "is_loopback"]

_FIX = "give another --port, or 0 for any that is free"


def is_loopback(host: str) -> bool:
    """Whether all addresses of a host are of this machine alone; ConfigError if there is no such host."""
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise ConfigError("--host", f"{host} has no address", str(error)) from error
    return all(ipaddress.ip_address(str(each).partition("%")[0]).is_loopback for each in addresses)


class Server(uvicorn.Server):
    """A server of models; `run` answers requests until `should_exit`, and those it has taken by then.

    Args:
        models: loaded models by name.
        address: host and port; port 0 for any free one.
        token: required token of `Authorization: Bearer TOKEN`; "" for none.
        limits: bounds on sizes, times and queues.
        metrics: counters that the page of metrics shows.
        allowed: host names of requests, as in `make_app`.

    Attributes:
        url: URL that the server listens on.
    """

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        address: tuple[str, int],
        token: str,
        limits: Limits,
        metrics: Metrics,
        allowed: Callable[[str], bool] | None = None,
    ) -> None:
        host, port = address
        hosts = () if token else {host.lower(), "localhost", "127.0.0.1", "::1"}
        app = Guard(make_app(models, limits, metrics, allowed), limits, metrics, token, hosts)
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=_protocol(limits.head_seconds),
                ws="none",
                lifespan="on",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(limits.shutdown_seconds),
            )
        )
        self.models, self._socket = models, listening_socket(host, port, "--port", _FIX)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def startup(self, sockets: Any = None) -> None:
        """Print the address once it listens."""
        await super().startup(sockets)
        echo(f"{', '.join(self.models)}: {self.url}")

    def run(self, sockets: Any = None) -> None:
        """Answer requests, watch the files of the models, and end their threads when it is over."""
        ended = threading.Event()
        watch = threading.Thread(target=_watch, args=(self.models.values(), ended), daemon=True)
        watch.start()
        # Otherwise a request now and then waits for a collection of all libraries' objects, about 0.3 seconds.
        gc.collect()
        gc.freeze()
        try:
            super().run([self._socket])
        finally:
            ended.set()
            gc.unfreeze()
            for each in self.models.values():
                each.close()


def _watch(models: Collection[ServedModel], ended: threading.Event) -> None:
    @contextlib.contextmanager
    def paused() -> Iterator[None]:
        with contextlib.ExitStack() as locks:
            for each in models:
                locks.enter_context(each.lock)
            yield

    while not ended.wait(1):
        for each in models:
            each.reload_if_changed(paused)


def _protocol(head_seconds: float) -> type[H11Protocol]:
    class Protocol(H11Protocol):
        """Closes a connection whose client takes longer than `head_seconds` for the head of a request."""

        _clock: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._start()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:
                self._start()
            else:
                self._stop()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle is None or self.cycle.response_complete:
                self._start()

        def connection_lost(self, error: Exception | None) -> None:
            self._stop()
            super().connection_lost(error)

        def _start(self) -> None:
            if self._clock is None:
                self._clock = self.loop.call_later(head_seconds, self._end)

        def _stop(self) -> None:
            if self._clock is not None:
                self._clock.cancel()
                self._clock = None

        def _end(self) -> None:
            self._clock = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Protocol
