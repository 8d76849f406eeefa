"""Servers for tests, each on a free port of loopback, in a thread."""

import contextlib
import io
import socket
import threading
import time

import numpy as np
import torch
from det_core.predict import Result
from det_core.structures import Detections, Prediction
from det_export.serve.metrics import Metrics
from det_export.serve.served import ServedModel
from det_export.serve.server import Server
from det_export.serve.settings import Limits
from PIL import Image

LIMITS = Limits(
    upload_bytes=1 << 20, pixels=400_000, pictures=3, queue=4, head_seconds=2, body_seconds=2, url_seconds=2
)


class BlockDetector:
    """Detects the first red channel value of each picture as a label, after `gate` is set."""

    def __init__(self, classes=("a", "b", "c", "d"), threshold=0.5):
        self.classes, self.threshold = classes, threshold
        self.gate, self.batches, self.entered = threading.Event(), [], 0
        self.gate.set()

    def __call__(self, images, threshold=0.0, batch_size=1):
        if isinstance(images, torch.Tensor):
            return self([images])[0]
        self.entered += 1
        self.gate.wait(20)
        self.batches.append(len(images))
        if any(int(image[1, 0, 0]) == 255 for image in images):
            raise RuntimeError("a picture that the model fails on")
        return [self._result(image) for image in images]

    def _result(self, image):
        height, width = image.shape[1:]
        label = int(image[0, 0, 0]) % len(self.classes)
        detections = Detections(
            boxes=torch.tensor([[0.0, 0.0, width / 2, height / 2]] * 2),
            labels=torch.tensor([label, label]),
            scores=torch.tensor([0.9, 0.3]),
            size=(height, width),
        )
        ids = tuple(10 + number for number in range(len(self.classes)))
        return Result(image, Prediction(detections=detections), self.classes, ids)


@contextlib.contextmanager
def running(detectors, limits=LIMITS, batch=1, token="", allowed=None):
    """A server of detectors by name, which is stopped in the end; yields it."""
    metrics = Metrics()
    models = {
        name: ServedModel(name, lambda each=each: each, lambda: None, batch, limits, metrics)
        for name, each in detectors.items()
    }
    server = Server(models, ("127.0.0.1", 0), token, limits, metrics, allowed)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield server
    finally:
        for each in detectors.values():
            getattr(each, "gate", threading.Event()).set()
        server.should_exit = True
        thread.join(40)
        assert not thread.is_alive()


def png(red=1, size=(40, 60), green=0):
    """A PNG of one color; `size` is (height, width)."""
    content = io.BytesIO()
    Image.fromarray(np.full((*size, 3), (red, green, 0), np.uint8)).save(content, "PNG")
    return content.getvalue()


def connected(server):
    """A raw connection to a server."""
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 10)


def eventually(condition, seconds=15):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
