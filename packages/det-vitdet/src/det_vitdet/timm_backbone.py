"""Any timm network with feature maps, as a backbone by its timm name; an extra: det-vitdet[timm]."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from det_core.errors import ConfigError, MissingExtraError
from det_core.ops.layers import FrozenBatchNorm2d
from torch import Tensor, nn

from det_vitdet.layers import padded_to

__all__ = ["TimmBackbone"]


class TimmBackbone(nn.Module):
    """The feature maps of a timm network: the last one of each stride.

    Levels are named "c" and the binary logarithm of the stride: c2 has stride 4. State-dict keys are timm's, below
    "network". Weights are random at first; a recipe loads others by `weights: {source: ..., into: backbone.bottom_up}`.

    Args:
        name: timm model name, such as "convnext_tiny", "swin_tiny_patch4_window7_224".
        strides: strides of the returned levels, finest first; None for all levels of the network.
        norm: "FrozenBN" for constant batch norms, which suits pretrained weights and small batches; None for trained
            ones.
        pad_to: minimum side of the input in pixels, reached by zero padding right and bottom; 0 for no padding.
        options: further arguments of `timm.create_model`, such as {img_size: 512} for networks of fixed image size.

    Raises:
        MissingExtraError: timm is not installed.
        ConfigError: timm has no such network, it has no feature maps of these strides, or an option reads a file.
    """

    def __init__(
        self,
        name: str,
        *,
        strides: Sequence[int] | None = None,
        norm: str | None = None,
        pad_to: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if norm not in (None, "FrozenBN"):
            raise ConfigError("TimmBackbone.norm", "must be FrozenBN or null", f"got {norm!r}")
        self.network, shapes = _network(name, dict(options or {}))
        reductions, widths = (list(getattr(self.network.feature_info, each)()) for each in ("reduction", "channels"))
        # Of several maps of one stride the last is the most processed.
        last = {stride: index for index, stride in enumerate(reductions)}
        requested = sorted(last if strides is None else set(strides))
        if not requested or not set(requested) <= set(last) or any(stride & (stride - 1) for stride in requested):
            found = f"{name} has feature maps of stride {', '.join(map(str, sorted(last)))}, not {requested}"
            raise ConfigError("TimmBackbone.strides", "must be strides that the network has, powers of two", found)
        self._index = {f"c{int(math.log2(stride))}": last[stride] for stride in requested}
        self.channels = {level: widths[index] for level, index in self._index.items()}
        self.strides = dict(zip(self._index, requested, strict=True))
        self.size_divisibility, self.pad_to = max(requested), pad_to
        self._channels_last = {
            level
            for level, stride in self.strides.items()
            if shapes[self._index[level]][1:] == (_PROBE[0] // stride, _PROBE[1] // stride, self.channels[level])
        }
        if norm == "FrozenBN":
            FrozenBatchNorm2d.replace(self)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {"c2": (B, C, H / 4, W / 4), ...}, finest first."""
        maps = self.network(padded_to(pixels, self.pad_to))
        features = {level: maps[index] for level, index in self._index.items()}
        return {
            level: feature_map.permute(0, 3, 1, 2) if level in self._channels_last else feature_map
            for level, feature_map in features.items()
        }


# Options with which networks of fixed image size accept others; each family has one of these.
_ANY_SIZE: tuple[dict[str, Any], ...] = ({}, {"dynamic_img_size": True}, {"strict_img_size": False})
# Options of timm that read or download files.
_FETCHING = frozenset({"cache_dir", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"})
_PROBE = (320, 256)  # image size, in pixels, to test whether they do


def _network(name: str, options: dict[str, Any]) -> tuple[nn.Module, list[torch.Size]]:
    """The network, and the shapes of its feature maps for an image size other than its training size."""
    try:
        import timm
    except ImportError as error:
        fix = "pip install 'det-vitdet[timm]'"
        raise MissingExtraError("TimmBackbone", "needs timm, which is not installed", fix=fix) from error
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"{name.partition('_')[0][:6]}*")[:6])
        fix = f"there is {near}, ..." if near else "timm.list_models() lists all names"
        raise ConfigError("TimmBackbone.name", f"timm has no network {name!r}", fix=fix)
    if fetching := sorted(_FETCHING & options.keys()):
        fix = "a recipe loads weights by `weights: {source: ..., into: backbone.bottom_up}`"
        raise ConfigError(f"TimmBackbone.options.{fetching[0]}", "would read a file of weights", fix=fix)
    problems = []
    for more in _ANY_SIZE:
        try:
            with torch.device("cpu"):  # some constructors read tensor values, which the meta device lacks
                network = timm.create_model(name, features_only=True, **{**more, **options})
            with torch.no_grad():
                maps = copy.deepcopy(network).to("meta").eval()(torch.zeros(1, 3, *_PROBE, device="meta"))
        except (RuntimeError, TypeError, AssertionError, AttributeError, ValueError) as error:
            problems.append(str(error).partition("\n")[0])
            continue
        return network.to(torch.get_default_device()), [each.shape for each in maps]
    problem = f"timm gives no feature maps for arbitrary image sizes with {name!r}"
    raise ConfigError("TimmBackbone", problem, problems[0], "choose another network, or other options")
