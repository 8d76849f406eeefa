"""What a trainer takes by default: writers of metrics, and the model for several processes."""

import importlib.util
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from det_detectron2.layer.utils import comm
from det_detectron2.layer.utils.events import CommonMetricPrinter, EventWriter, JSONWriter, TensorboardXWriter

__all__ = ["create_ddp_model", "default_writers"]


def create_ddp_model(model: nn.Module, *, fp16_compression: bool = False, **kwargs: Any) -> nn.Module:
    """The model for several processes; itself, where there is one.

    Args:
        model: model, already on its device.
        fp16_compression: whether to all-reduce gradients in half precision.
        kwargs: arguments of `DistributedDataParallel`.
    """
    if comm.get_world_size() == 1:
        return model
    if "device_ids" not in kwargs and next(model.parameters()).is_cuda:
        kwargs["device_ids"] = [comm.get_local_rank()]
    parallel = DistributedDataParallel(model, **kwargs)
    if fp16_compression:
        from torch.distributed.algorithms.ddp_comm_hooks import default

        parallel.register_comm_hook(state=None, hook=default.fp16_compress_hook)
    return parallel


def default_writers(output_dir: str, max_iter: int | None = None) -> list[EventWriter]:
    """A line in the log, metrics.json, and files for TensorBoard where that is installed."""
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    writers: list[EventWriter] = [
        CommonMetricPrinter(max_iter),
        JSONWriter(str(Path(output_dir) / "metrics.json")),
    ]
    if importlib.util.find_spec("tensorboard") is not None:
        writers.append(TensorboardXWriter(output_dir))
    return writers
