"""Counters of a server in the text format of Prometheus."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Requests, pictures, batches and reloads, in a separate registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        common: Any = {"registry": self.registry}
        self.requests = Counter("det_requests", "Answered requests.", ["path", "status"], **common)
        self.seconds = Histogram(
            "det_request_seconds", "From the head of a request to its answer.", ["path"], buckets=_SECONDS, **common
        )
        self.gone = Counter("det_clients_gone", "Requests whose client left before the answer.", **common)
        self.waiting = Gauge("det_pictures_waiting", "Pictures without an answer yet.", ["model"], **common)
        self.batches = Histogram("det_batch_size", "Pictures of a batch.", ["model"], buckets=_SIZES, **common)
        self.model_seconds = Histogram(
            "det_model_seconds", "Time of the model for a batch.", ["model"], buckets=_SECONDS, **common
        )
        self.reloads = Counter("det_reloads", "Reloads of a changed file.", ["model", "outcome"], **common)

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
