"""The bounds of a server, and the error of a request that is refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Limits", "RefusedError"]


@dataclass(frozen=True)
class Limits:
    """Bounds of a server.

    Attributes:
        upload_bytes: maximum size of the body of a request and of a file behind a URL, in bytes.
        buffered_bytes: maximum total size of the bodies of all requests that are being received, in bytes.
        pixels: maximum number of pixels of a picture, checked in the head of the file before decoding.
        pictures: maximum number of pictures in one request.
        queue: maximum number of unanswered pictures of one model.
        head_seconds: seconds for a client to send the head of a request.
        body_seconds: seconds for a client to send the body.
        url_seconds: seconds for the download of a picture.
        answer_seconds: seconds for a client to receive a part of the answer.
        shutdown_seconds: seconds for running requests after the server was stopped.
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
