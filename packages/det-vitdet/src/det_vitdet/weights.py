"""Weights of classification networks, made to fit: positions learnt at another size, and the names that timm gives.

Each function takes the state dict of a file and that of our network, and returns one for our network to load: what a
recipe names under `weights.upgrade`.
"""

import re
from collections.abc import Mapping

import torch
from det_core.errors import WeightsError
from torch import Tensor
from torch.nn import functional as F

__all__ = ["from_timm_swin", "from_timm_vit", "resampled"]

State = Mapping[str, Tensor]

_WHERE = "weights from timm"


def resampled(state: State, own: State) -> dict[str, Tensor]:
    """The same, with positions of another number resampled to ours.

    Absolute positions, `pos_embed`, and Swin's tables of relative ones are resampled bicubically, in both directions;
    MViT's and ViT's relative ones linearly. A class token's position is dropped, or kept, as ours has one or not.
    """
    return {key: _resample(key, value, own[key]) if key in own else value for key, value in state.items()}


def _resample(key: str, value: Tensor, like: Tensor) -> Tensor:
    last = key.rpartition(".")[2]
    if value.shape == like.shape or value.ndim != like.ndim or value.shape[-1] != like.shape[-1]:
        return value
    if last == "pos_embed":
        return _positions(value, like.shape[1])
    if last in ("rel_pos_h", "rel_pos_w"):
        return F.interpolate(value.t()[None], size=len(like), mode="linear")[0].t()
    if last == "relative_position_bias_table":
        return _square(value, len(like))
    return value


def _positions(value: Tensor, wanted: int) -> Tensor:
    """(1, L, C) to (1, wanted, C), where either may hold a class token's position in front."""
    token, grid = value[:, :0], value
    if round(value.shape[1] ** 0.5) ** 2 != value.shape[1]:
        token, grid = value[:, :1], value[:, 1:]
    if round(wanted**0.5) ** 2 == wanted:
        return _square(grid[0], wanted)[None]
    if not token.shape[1]:
        token = torch.zeros_like(grid[:, :1])
    return torch.cat((token, _square(grid[0], wanted - 1)[None]), dim=1)


def _square(grid: Tensor, wanted: int) -> Tensor:
    """(L, C) of a square of places to (wanted, C)."""
    before, after = round(len(grid) ** 0.5), round(wanted**0.5)
    square = grid.t().unflatten(1, (before, before))[None]
    return F.interpolate(square, size=(after, after), mode="bicubic", align_corners=False)[0].flatten(1).t()


# Names in timm's transformers that are parts of another network than ours.
_FOREIGN = re.compile(r"(^|\.)(q_norm|k_norm|reg_token|norm_pre|fc_norm_pre|rope|w12|fc1_g|cpb_mlp|logit_scale)(\.|$)")


def from_timm_vit(state: State, own: State) -> dict[str, Tensor]:
    """timm's plain vision transformers as our ViT: `layer_scale` becomes part of the layer before it.

    Raises:
        WeightsError: the network has parts that ours does not have.
    """
    _require_known(state)
    found = {key: value for key, value in state.items() if not re.search(r"\.ls[12]\.gamma$", key)}
    for key, gamma in state.items():
        if (scaled := re.fullmatch(r"(blocks\.\d+\.)ls([12])\.gamma", key)) is not None:
            layer = scaled[1] + ("attn.proj" if scaled[2] == "1" else "mlp.fc2")
            found[f"{layer}.weight"] = found[f"{layer}.weight"] * gamma[:, None]
            found[f"{layer}.bias"] = found[f"{layer}.bias"] * gamma
    if "pos_embed" in found and "pos_embed" in own and found["pos_embed"].shape != own["pos_embed"].shape:
        found["pos_embed"] = _positions(found["pos_embed"], own["pos_embed"].shape[1])
    return resampled(found, own)


def from_timm_swin(state: State, own: State) -> dict[str, Tensor]:
    """timm's Swin transformers as ours: the layer that shrinks a map belongs to the stage before it.

    Raises:
        WeightsError: the network has parts that ours does not have, as Swin v2 has.
    """
    _require_known(state)
    found = {}
    for key, value in state.items():
        shrinks = re.fullmatch(r"layers(?:\.|_)(\d+)\.downsample\.(.+)", key)
        stage = re.sub(r"^layers_(\d+)", r"layers.\1", key)
        found[f"layers.{int(shrinks[1]) - 1}.downsample.{shrinks[2]}" if shrinks else stage] = value
    # What follows from the side of the windows alone, and is not in timm's files.
    found |= {key: value for key, value in own.items() if key.endswith(".relative_position_index")}
    return resampled(found, own)


def _require_known(state: State) -> None:
    if unknown := [key for key in state if _FOREIGN.search(key)]:
        fix = "use it as it is: backbone {type: timm, name: ...}"
        raise WeightsError(_WHERE, "are of another network than ours", f"it has {unknown[0]}", fix)
