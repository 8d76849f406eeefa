"""What a program runs on, as `detectron2.utils.collect_env`."""

import platform
import sys

import numpy as np
import torch
import torchvision

__all__ = ["collect_env_info"]


def collect_env_info() -> str:
    """Versions and devices, a line each."""
    from det_core.plugins import catalog

    rows = [
        ("sys.platform", sys.platform),
        ("Python", platform.python_version()),
        ("numpy", np.__version__),
        ("detectron2", "det's layer for Detectron2"),
        ("det", ", ".join(f"{each.distribution} {each.version}" for each in catalog().plugins)),
        ("PyTorch", f"{torch.__version__} @{torch.__path__[0]}"),
        ("torchvision", torchvision.__version__),
        ("GPU available", str(torch.cuda.is_available())),
    ]
    if torch.cuda.is_available():
        rows += [(f"GPU {i}", torch.cuda.get_device_name(i)) for i in range(torch.cuda.device_count())]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
