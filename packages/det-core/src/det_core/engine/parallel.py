"""How the work of a training step is shared: data parallel (DDP), or with sharded weights (FSDP2)."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from det_core.engine.distributed import rank_and_world_size
from det_core.engine.optim import matching_names
from det_core.errors import ConfigError
from det_core.ops.sync_norm import synchronize_norms

__all__ = ["Parallel", "Processes"]


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """How many processes train together: `train.parallel`.

    Args:
        shard: share weights, gradients and momenta out among the processes (FSDP2) instead of keeping all in each.
        shard_layers: names of the modules whose weights are gathered together, such as "backbone.net.blocks.*", of
            which the outermost that match are taken; by default the children of the model.
        pad_together: pad the images of a step to one size in all processes, so that the result does not depend on how
            many there are; false pads those of each process, which is faster where image sizes vary.
        find_unused: whether DDP searches for weights without a gradient in each step, for models that do not use all
            weights in every step.
        timeout: seconds in which a process that does not come to a step ends the others.
    """

    shard: bool = False
    shard_layers: Sequence[str] = ()
    pad_together: bool = True
    find_unused: bool = False
    timeout: float = 50.0

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise ConfigError("train.parallel.timeout", "must be positive", f"got {self.timeout}")


class Processes:
    """The processes that train together, this one among them; with one process every method is the identity.

    Args:
        settings: settings of distributed training, such as the backend.
        device: torch device of this process.

    Attributes:
        group: process group for collectives on the device; None for one process.
    """

    def __init__(self, settings: Parallel, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.rank, self.world_size = rank_and_world_size()
        self.group: Any = None
        self._control: Any = None
        if self.world_size > 1:
            timeout = timedelta(seconds=settings.timeout)
            self.group = dist.new_group(backend="nccl" if device.type == "cuda" else "gloo", timeout=timeout)
            self._control = dist.new_group(backend="gloo", timeout=timeout)
        elif settings.shard:
            raise ConfigError("train.parallel.shard", "needs several processes", fix="start it by torchrun")

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module to call for losses, whose gradients become means over the processes."""
        if self.world_size == 1:
            return model
        synchronize_norms(model, self.device, self.group)
        if self.settings.shard:
            return self._shard(model)
        unused = self.settings.find_unused
        with warnings.catch_warnings():
            # torch 2.15 renames an argument that torch 2.11 does not know by its new name.
            warnings.simplefilter("ignore", FutureWarning)
            return DistributedDataParallel(
                model, process_group=self.group, broadcast_buffers=False, find_unused_parameters=unused
            )

    def require_gradients(self, model: nn.Module) -> None:
        """Raise ConfigError if a weight has no gradient, for which DDP would wait in vain."""
        if self.world_size == 1 or self.settings.find_unused or self.settings.shard:
            return
        if unused := [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]:
            found = f"{len(unused)} of them, the first is {unused[0]}"
            fix = "set train.parallel.find_unused=true, or freeze them"
            raise ConfigError("train.parallel.find_unused", "is needed: the losses do not use all weights", found, fix)

    def _shard(self, model: nn.Module) -> nn.Module:
        # Loaded here because they take a while.
        from torch.distributed.device_mesh import DeviceMesh
        from torch.distributed.fsdp import fully_shard

        if _is_sharded(model):
            return model
        mesh = DeviceMesh.from_group(self.group, self.device.type)
        names: set[str] = set()
        for pattern in self.settings.shard_layers or [name for name, _ in model.named_children()]:
            matches = matching_names([name for name, _ in model.named_modules()], [pattern])
            if not matches:
                raise ConfigError("train.parallel.shard_layers", "matches no module of the model", f"got {pattern}")
            names.update(name for name in matches if not any(name.startswith(f"{other}.") for other in matches))
        for name in sorted(names, key=len, reverse=True):
            module = model.get_submodule(name)
            if any(parameter.requires_grad for parameter in module.parameters()):
                fully_shard(module, mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model

    def no_sync(self, model: nn.Module) -> Any:
        """A context in which gradients are added up in this process alone."""
        if isinstance(model, DistributedDataParallel):
            return model.no_sync()
        return _deferred(model) if _is_sharded(model) else nullcontext()

    def maximum(self, *values: int) -> list[int]:
        """The largest of each value over all processes; a process that does not come ends the others."""
        if self.world_size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self._control)
        return [int(value) for value in tensor]

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor over all processes."""
        if self.world_size > 1:
            dist.all_reduce(values, group=self.group)
            values = values / self.world_size
        return values

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Set tensors, in place, to those of rank 0."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, group=self.group, group_src=0)

    def any(self, flag: bool) -> bool:
        """Whether any process has the flag; waits for all, for as long as an evaluation may take."""
        if self.world_size == 1:
            return flag
        tensor = torch.tensor(int(flag))
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return bool(tensor)

    def barrier(self) -> None:
        """Wait for all processes, for as long as an evaluation or a checkpoint may take."""
        if self.world_size > 1:
            dist.barrier()

    @contextmanager
    def gathered(self, model: nn.Module) -> Iterator[None]:
        """All weights of a sharded model in every process: each may then call it as often as it likes."""
        parts: list[Any] = [module for module in model.modules() if _is_sharded(module)]
        with ExitStack() as stack:
            for part in parts:
                part.set_reshard_after_forward(False, recurse=False)
                part.unshard()
                stack.callback(part.reshard)
                stack.callback(part.set_reshard_after_forward, True, recurse=False)
            yield


def _is_sharded(module: nn.Module) -> bool:
    return hasattr(module, "set_reshard_after_forward")  # of FSDPModule


def model_state(model: nn.Module) -> dict[str, Any]:
    """The state of a model, whole; all processes must call this, and where it is sharded only rank 0 gets it."""
    if not _is_sharded(model):
        return model.state_dict()
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of an optimizer, as `model_state` gives that of a model."""
    if not _is_sharded(model):
        return optimizer.state_dict()
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return dict(get_optimizer_state_dict(model, optimizer, options=options))


def load_sharded(model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load results of `model_state` and `optimizer_state` into a sharded model and its optimizer."""
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        set_model_state_dict,
        set_optimizer_state_dict,
    )

    options = StateDictOptions(full_state_dict=True)
    set_model_state_dict(model, state["model"], options=options)
    set_optimizer_state_dict(model, optimizer, state["optimizer"], options=options)


@contextmanager
def _deferred(model: Any) -> Iterator[None]:
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)
