"""Middleware in front of the application: checks token, host, size and time of every request.

Bodies are received whole: a client that sends slowly holds a connection and the bytes it sent, and nothing else.
"""

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from det_export.serve.metrics import Metrics
from det_export.serve.settings import Limits, RefusedError

__all__ = ["Guard"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

OPEN = ("/", "/page.js", "/health", "/docs", "/docs.js", "/openapi.json")
"""Paths that need no token: pages without data, and whether the server runs."""


class _GoneError(Exception):
    """The client left before its body was received."""


class Guard:
    """An ASGI application in front of another.

    Args:
        app: ASGI application behind the guard.
        limits: bounds on sizes, times and queues.
        metrics: counters that the page of metrics shows.
        token: required token of the header `Authorization: Bearer TOKEN`; "" for none.
        hosts: allowed names in the header Host; empty for any. Without a token, this prevents DNS rebinding: web pages
            of other sites that use the browser of a user to reach the server.
    """

    def __init__(self, app: App, limits: Limits, metrics: Metrics, token: str, hosts: Collection[str]) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._token, self._hosts = token.encode(), frozenset(hosts)
        self._buffered = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Handle one connection, as specified by ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, path = time.perf_counter(), _label(scope["path"])
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(path, str(message["status"])).inc()
                self._metrics.seconds.labels(path).observe(time.perf_counter() - started)
            async with asyncio.timeout(self._limits.answer_seconds):
                await send(message)

        content = bytearray()
        try:
            self._check(scope["path"], headers)
            await self._receive(content, headers, receive)
            await self._app(scope, _replay(content, receive), answer)
        except RefusedError as refused:
            await _refuse(refused, answer)
        except _GoneError:
            self._metrics.gone.inc()
        finally:
            self._buffered -= len(content)

    def _check(self, path: str, headers: dict[str, str]) -> None:
        host = _hostname(headers.get("host", ""))
        if self._hosts and host not in self._hosts:
            raise RefusedError(421, [f"Host: {host!r} is not the name of this server"])
        origin = headers.get("origin", "")
        if self._hosts and origin and _hostname(origin.partition("://")[2]) not in self._hosts:
            raise RefusedError(403, [f"Origin: pages of {origin!r} may not use this server"])
        if self._token and path not in OPEN:
            authorization = headers.get("authorization", "")
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token):
                problem = (
                    "Authorization: the token is wrong" if authorization else "Authorization: needs 'Bearer TOKEN'"
                )
                raise RefusedError(401, [problem], {"WWW-Authenticate": "Bearer"})

    async def _receive(self, content: bytearray, headers: dict[str, str], receive: Receive) -> None:
        """Fill `content` with the body, within the bounds."""
        largest = self._limits.upload_bytes
        length = headers.get("content-length", "0")
        too_large = RefusedError(413, [f"the body is larger than {largest / 2**20:g} MiB"])
        if length.isdigit() and int(length) > largest:
            raise too_large
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _GoneError
                    part = message.get("body", b"")
                    content += part
                    self._buffered += len(part)
                    more = message.get("more_body", False)
                    if len(content) > largest:
                        raise too_large
                    if self._buffered > self._limits.buffered_bytes:
                        raise RefusedError(503, ["too many uploads at once; ask again in 1 s"], {"Retry-After": "1"})
        except TimeoutError as error:
            problem = f"the body did not arrive within {self._limits.body_seconds:g} s"
            raise RefusedError(408, [problem], {"Connection": "close"}) from error


def _replay(content: bytearray, receive: Receive) -> Receive:
    """The body as one message; after it whatever the connection brings, which is its end."""
    waiting = True

    async def replayed() -> Message:
        nonlocal waiting
        if not waiting:
            return await receive()
        waiting = False
        return {"type": "http.request", "body": bytes(content), "more_body": False}

    return replayed


async def _refuse(refused: RefusedError, send: Send) -> None:
    headers = {"Content-Type": "application/json", **refused.headers}
    pairs = [(key.lower().encode(), value.encode()) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": pairs})
    await send({"type": "http.response.body", "body": json.dumps({"errors": list(refused.errors)}).encode()})


def _hostname(text: str) -> str:
    """A host without its port; an IPv6 address without brackets."""
    return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0].lower()


def _label(path: str) -> str:
    """A path for metrics, of which there are few."""
    return path if path in (*OPEN, "/metrics", "/models") else "/predict" if path.startswith("/predict") else "other"
