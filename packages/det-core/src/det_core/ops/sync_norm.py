"""Batch norm over all processes on a CPU, which torch's implementation does not support."""

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

__all__ = ["CPUSyncBatchNorm", "synchronize_norms"]


class CPUSyncBatchNorm(nn.BatchNorm2d):
    """`nn.SyncBatchNorm` in plain operations; `synchronize_norms` converts such modules."""

    process_group: Any = None

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) to the same shape; in training all processes of the group must call this."""
        if not self.training:
            return super().forward(input)
        values = input.float().transpose(0, 1).flatten(1)
        count: Tensor = _SumOverProcesses.apply(values.new_tensor(values.shape[1]), self.process_group)
        mean = _SumOverProcesses.apply(values.sum(1), self.process_group) / count
        squares = _SumOverProcesses.apply((values - mean[:, None]).square().sum(1), self.process_group)
        variance = squares / count
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            momentum = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), momentum)
            self.running_var.lerp_(squares.detach() / (count - 1).clamp(min=1), momentum)
        scale = (variance + self.eps).rsqrt()
        shift = -mean * scale
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        shape = (1, -1, *[1] * (input.ndim - 2))
        return (input * scale.view(shape) + shift.view(shape)).to(input.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions, as in `nn.SyncBatchNorm`."""


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over all processes, with the gradients of all of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group, total = group, x.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


def synchronize_norms(model: nn.Module, device: torch.device, group: Any) -> None:
    """Let every `nn.SyncBatchNorm` of `model` use a process group, in place, on a CPU as `CPUSyncBatchNorm`."""
    for module in model.modules():
        if isinstance(module, nn.SyncBatchNorm):
            module.process_group = group
            if device.type == "cpu":
                module.__class__ = CPUSyncBatchNorm  # type: ignore[assignment]  # same parameters, buffers and keys
