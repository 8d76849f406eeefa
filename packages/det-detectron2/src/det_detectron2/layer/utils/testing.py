"""Helpers of tests, as `detectron2.utils.testing`."""

import io
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from det_detectron2.layer.export.missing import missing
from det_detectron2.layer.structures import Boxes, Instances, ROIMasks

__all__ = [
    "assert_instances_allclose",
    "convert_scripted_instances",
    "get_model_no_weights",
    "random_boxes",
    "reload_lazy_config",
    "reload_script_model",
]


convert_scripted_instances = missing("detectron2.utils.testing.convert_scripted_instances")


def get_model_no_weights(config_path: str) -> Any:
    """The model of a published configuration with random weights, on the CPU where there is no GPU."""
    from det_detectron2.layer import model_zoo
    from det_detectron2.layer.modeling import build_model

    cfg = model_zoo.get_config(config_path)
    if not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    return build_model(cfg)


def random_boxes(num_boxes: int, max_coord: int = 100, device: str = "cpu") -> Tensor:
    """Boxes (N, 4) with whole corners in an image of `max_coord` pixels, each at least one pixel wide and high."""
    boxes = torch.rand(num_boxes, 4, device=device) * (max_coord * 0.5)
    boxes.clamp_(min=1.0)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def reload_lazy_config(cfg: Any) -> Any:
    """What comes back after saving and loading."""
    from det_detectron2.layer.config import LazyConfig

    with tempfile.TemporaryDirectory(prefix="detectron2") as folder:
        file = str(Path(folder) / "config.yaml")
        LazyConfig.save(cfg, file)
        return LazyConfig.load(file)


def reload_script_model(module: Any) -> Any:
    """What comes back after saving and loading a scripted module."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


def assert_instances_allclose(
    input: Instances, other: Instances, *, rtol: float = 1e-5, msg: str = "", size_as_tensor: bool = False
) -> None:
    """AssertionError if two have other fields, sizes, or values that differ by more than rounding."""
    assert tuple(input.image_size) == tuple(other.image_size), f"{msg}image_size {input.image_size} {other.image_size}"
    assert sorted(input.get_fields()) == sorted(other.get_fields()), f"{msg}fields differ"
    for name, field in input.get_fields().items():
        theirs = other.get(name)
        if isinstance(field, Boxes | ROIMasks):
            assert torch.allclose(field.tensor, theirs.tensor, atol=100 * rtol), f"{msg}Field {name} differs too much!"
        elif isinstance(field, Tensor) and field.dtype.is_floating_point:
            largest = field.abs().max() if field.numel() else 0.0
            assert torch.allclose(field, theirs, atol=float(largest) * rtol), f"{msg}Field {name} differs too much!"
        elif isinstance(field, Tensor):
            assert torch.equal(field, theirs), f"{msg}Field {name} is different!"
        else:
            raise ValueError(f"Don't know how to compare type {type(field)}")
