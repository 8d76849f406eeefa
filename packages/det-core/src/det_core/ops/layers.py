"""Small layers: convolution with its norm and activation, frozen batch norm, and norms by name."""

from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BatchStatBatchNorm2d", "Conv2d", "FrozenBatchNorm2d", "LayerNorm2d", "Norm", "draw_weights", "freeze"]
__all__ += ["make_norm"]

Norm = Literal["", "BN", "SyncBN", "FrozenBN", "BatchStatBN", "GN", "LN"]
"""Published norm names; "" for none. GN has 32 groups; LN is over the channels of each pixel; BatchStatBN uses the
statistics of the batch at inference too."""


def scale_and_shift(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """x * scale + shift."""
    return torch.addcmul(shift, x, scale)


class FrozenBatchNorm2d(nn.Module):
    """Batch norm with constant statistics and affine parameters: buffers that only loading changes.

    Attributes:
        scale_and_shift: function for x * scale + shift; `det_core.models.cpu_acceleration` installs a faster one.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.scale_and_shift: Callable[[Tensor, Tensor, Tensor], Tensor] = scale_and_shift
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        # A frozen copy of a trained norm keeps its counter, as in published files.
        self.register_buffer("num_batches_tracked", None)

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape and dtype."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return self.scale_and_shift(x, scale.to(x.dtype)[:, None, None], shift.to(x.dtype)[:, None, None])

    def extra_repr(self) -> str:
        """The channels, for print(model)."""
        return f"{len(self.weight)}, eps={self.eps}"

    @classmethod
    def replace(cls, module: nn.Module) -> nn.Module:
        """Freeze every batch norm of `module`, in place; returns the replacement of `module` itself."""
        if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
            frozen = cls(module.num_features, module.eps).to(module.weight.device)
            frozen.num_batches_tracked = module.num_batches_tracked
            frozen.load_state_dict(module.state_dict())
            return frozen
        for name, child in module.named_children():
            setattr(module, name, cls.replace(child))
        return module


class BatchStatBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with the statistics of the batch, also in evaluation.

    The output for an image then depends on the others (Wu and Johnson, "Rethinking batch in BatchNorm", 2021). Running
    statistics are updated in training but not used.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape; B may be 0."""
        if self.training:
            return super().forward(input)
        return F.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of each pixel, for maps (B, C, H, W)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def make_norm(norm: Norm, channels: int) -> nn.Module | None:
    """The norm layer called `norm` with this number of channels, None for ""."""
    makers: dict[str, Callable[[int], nn.Module]] = {
        "BN": nn.BatchNorm2d,
        "SyncBN": nn.SyncBatchNorm,
        "FrozenBN": FrozenBatchNorm2d,
        "BatchStatBN": BatchStatBatchNorm2d,
        "GN": lambda channels: nn.GroupNorm(32, channels),
        "LN": LayerNorm2d,
    }
    return makers[norm](channels) if norm else None


class Conv2d(nn.Conv2d):
    """Convolution, then `norm`, then `activation`; the parameters of the norm are under the name of the convolution.

    A norm replaces the bias unless `bias` is set. `activation` is a function without parameters.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        norm: Norm = "",
        bias: bool | None = None,
        activation: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size - 1) // 2,
            dilation=dilation,
            groups=groups,
            bias=not norm if bias is None else bias,
        )
        self.norm = make_norm(norm, out_channels)
        self.activation = activation

    def forward(self, input: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        return self.finish(super().forward(input))

    def finish(self, x: Tensor) -> Tensor:
        """Norm and activation after the convolution; its result `x` may be overwritten."""
        if self.norm is not None:
            x = self.norm(x)
        return x if self.activation is None else self.activation(x)


def freeze(module: nn.Module) -> nn.Module:
    """Exclude `module` from training: constant parameters, and frozen batch norms in place of trained ones."""
    for parameter in module.parameters():
        parameter.requires_grad = False
    return FrozenBatchNorm2d.replace(module)


def draw_weights(layer: nn.Module, form: Literal["relu", "uniform"] | float) -> None:
    """Draw the weights of a layer, and set its bias, if it has one, to zero.

    Args:
        layer: convolution or linear layer to initialize.
        form: "relu" for He et al. (2015) by fan-out, before a ReLU; "uniform" for Caffe2's "XavierFill"; a number for a
            normal distribution with that standard deviation.
    """
    weight, bias = cast(Tensor, layer.weight), layer.bias
    if form == "relu":
        nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
    elif form == "uniform":
        nn.init.kaiming_uniform_(weight, a=1)
    else:
        nn.init.normal_(weight, std=form)
    if isinstance(bias, Tensor):
        nn.init.zeros_(bias)
