"""The bounds of a server, and the error of a request that is refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Limits", "RefusedError"]


@dataclass(frozen=True)
class Limits:
    """What a server accepts.

    Attributes:
        upload_bytes: largest body of a request, and largest file behind a URL.
        buffered_bytes: bodies of all requests that are being received.
        pixels: largest picture, checked in the head of the file, before it is decoded.
        pictures: pictures of one request.
        queue: pictures of all requests to one model that have no answer yet.
        head_seconds: for a client to send the head of a request.
        body_seconds: for a client to send the body.
        url_seconds: for a download.
        answer_seconds: for a client to take a part of the answer.
        shutdown_seconds: for the requests that run when the server is stopped.
    """

    upload_bytes: int = 32 << 20
    buffered_bytes: int = 512 << 20
    pixels: int = 50_000_000
    pictures: int = 16
    queue: int = 64
    head_seconds: float = 10
    body_seconds: float = 60
    url_seconds: float = 20
    answer_seconds: float = 60
    shutdown_seconds: float = 30


@dataclass(eq=False)
class RefusedError(Exception):
    """A request that gets no prediction: the status of the answer and its errors."""

    status: int
    errors: Sequence[str]
    headers: Mapping[str, str] = field(default_factory=dict)
