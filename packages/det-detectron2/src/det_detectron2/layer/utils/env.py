"""Random seeds and versions, as `detectron2.utils.env`."""

import os
import random
from datetime import UTC, datetime

import numpy as np
import torch

__all__ = ["TORCH_VERSION", "seed_all_rng"]

TORCH_VERSION = tuple(int(part) for part in torch.__version__.split(".")[:2])


def seed_all_rng(seed: int | None = None) -> None:
    """Seed Python, NumPy and torch; None takes one from the clock and the process."""
    if seed is None:
        now = datetime.now(UTC)
        seed = os.getpid() + int(now.strftime("%S%f")) + int.from_bytes(os.urandom(2), "big")
    np.random.seed(seed)
    torch.manual_seed(seed)
    random.seed(seed)
    os.environ["PYTHONHASHSEED"] = str(seed)
