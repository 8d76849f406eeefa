"""Downloads for requests, which reach public addresses alone.

The address that a name resolves to is checked and then connected to, for every step of a redirection; so a name that
resolves to something else at a second query, or a redirection into the network of the server, is refused. No proxy is
used, and no scheme but http and https.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from det_core.errors import DataError
from det_core.predict.urls import content_at

__all__ = ["download", "is_public"]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet: not loopback, private, link-local, reserved or multicast."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = [parsed.ipv4_mapped, parsed.sixtofour, *(parsed.teredo or ())]
        if parsed in _NAT64:
            inner.append(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF))
        if any(each is not None and not is_public(str(each)) for each in inner):
            return False
    return parsed.is_global and not parsed.is_multicast


def download(address: str, largest: int, seconds: float, allowed: Callable[[str], bool] = is_public) -> bytes:
    """The file at an address.

    Args:
        address: URL, "http://..." or "https://...".
        largest: maximum size of the file in bytes.
        seconds: seconds for the whole download, including the connection.
        allowed: function that decides whether connections to an IP address are permitted.

    Raises:
        DataError: the download fails, is too large or too slow, or its address is not allowed.
    """
    if not address.lower().startswith(("http://", "https://")):
        raise DataError(address, "is no URL of a picture", fix="give one that starts with https:// or http://")
    sockets: list[socket.socket] = []
    expired = threading.Event()
    timer = threading.Timer(seconds, _cut, [sockets, expired])
    timer.daemon = True
    timer.start()
    try:
        content = content_at(address, _opener(sockets, allowed).open, largest, seconds)
    except DataError:
        if not expired.is_set():
            raise
    finally:
        timer.cancel()
    if expired.is_set():
        raise DataError(address, f"cannot be downloaded within {seconds:g} s", fix="download it, and send the file")
    return content


def _cut(sockets: list[socket.socket], expired: threading.Event) -> None:
    expired.set()
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _opener(sockets: list[socket.socket], allowed: Callable[[str], bool]) -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    handlers = (
        *(urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPRedirectHandler()),
        *(urllib.request.HTTPErrorProcessor(), urllib.request.UnknownHandler(), _Handler(sockets, allowed)),
    )
    for each in handlers:
        opener.add_handler(each)
    return opener


class _Handler(urllib.request.AbstractHTTPHandler):
    """Opens http and https through checked connections."""

    def __init__(self, sockets: list[socket.socket], allowed: Callable[[str], bool]) -> None:
        super().__init__()
        self._opening: Any = {"sockets": sockets, "allowed": allowed}

    def http_open(self, request: urllib.request.Request) -> Any:
        """Called by urllib."""
        return self.do_open(partial(_Connection, **self._opening), request)

    def https_open(self, request: urllib.request.Request) -> Any:
        """Called by urllib."""
        return self.do_open(partial(_SecureConnection, **self._opening), request)

    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, sockets: list[socket.socket], allowed: Callable[[str], bool], **options: Any) -> None:
        super().__init__(host, **options)
        self._sockets, self._allowed = sockets, allowed

    def connect(self) -> None:
        self.sock = _connected(self._sockets, self._allowed, self.host, self.port, self.timeout)


class _SecureConnection(_Connection):
    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        super().connect()
        self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)
        self._sockets.append(self.sock)  # which takes the descriptor of the one before


def _connected(
    sockets: list[socket.socket], allowed: Callable[[str], bool], host: str, port: int, timeout: Any
) -> socket.socket:
    """A connection to the first address of a host that answers; OSError if any of them is not allowed."""
    addresses = list(dict.fromkeys(_addresses(host, port)))
    if refused := [address for address in addresses if not allowed(address)]:
        raise OSError(f"{host} is at {refused[0]}, which this server does not connect to")
    failed: OSError = OSError(f"{host} has no address")
    for address in addresses:
        try:
            connection = socket.create_connection((address, port), timeout)
        except OSError as error:
            failed = error
        else:
            sockets.append(connection)
            return connection
    raise failed


def _addresses(host: str, port: int) -> Iterator[str]:
    for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        yield str(address[0])
