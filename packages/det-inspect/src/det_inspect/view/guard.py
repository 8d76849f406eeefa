"""Middleware in front of the application: checks the names that requests use, their token and their size."""

import hmac
import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

__all__ = ["Guard"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_MOST_BYTES = 4 << 20
_COOKIE = "det-view"
_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """An ASGI application in front of another.

    Args:
        app: ASGI application behind the guard.
        hosts: allowed names in the header Host, empty for any: pages of other sites must not reach the server through
            a name that they control (DNS rebinding).
        token: text that the address of the first request must have as `?token=`, later ones in a cookie; "" for none.
    """

    def __init__(self, app: App, hosts: Collection[str], token: str = "") -> None:
        self._app, self._hosts, self._token = app, frozenset(hosts), token

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Handle one connection, as specified by ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        added = dict(_HEADERS)
        if self._token and self._has_token(scope.get("query_string", b"").decode("latin-1")):
            added["set-cookie"] = f"{_COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/"
        elif self._token and not self._has_cookie(headers.get("cookie", "")):
            await _refuse(send, 401, "the address needs the token that det view has printed")
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                pairs = [(key.encode(), value.encode()) for key, value in added.items()]
                message = {**message, "headers": [*message.get("headers", []), *pairs]}
            await send(message)

        if problem := self._problem(scope["method"], headers):
            await _refuse(answer, *problem)
        else:
            await self._app(scope, receive, answer)

    def _problem(self, method: str, headers: dict[str, str]) -> tuple[int, str] | None:
        host, origin = headers.get("host", ""), headers.get("origin", "")
        if self._hosts and _hostname(host) not in self._hosts:
            return 421, f"Host: {host!r} is not the name of this server"
        if origin and origin.partition("://")[2] != host:
            return 403, f"Origin: pages of {origin!r} may not use this server"
        if method in ("GET", "HEAD"):
            return None
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return 415, "Content-Type: must be application/json"  # forms of other sites cannot send it
        length = headers.get("content-length", "")
        if not length.isdigit():
            return 411, "Content-Length: is missing"
        return (413, f"the body is larger than {_MOST_BYTES >> 20} MiB") if int(length) > _MOST_BYTES else None

    def _has_token(self, query: str) -> bool:
        return self._is_token(parse_qs(query).get("token", [""])[-1])

    def _has_cookie(self, text: str) -> bool:
        try:
            morsel = SimpleCookie(text).get(_COOKIE)
        except CookieError:
            return False
        return morsel is not None and self._is_token(morsel.value)

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self._token.encode())


async def _refuse(send: Send, status: int, problem: str) -> None:
    content = json.dumps({"errors": [problem]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _hostname(text: str) -> str:
    """A host without its port; an IPv6 address without brackets."""
    return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0].lower()
