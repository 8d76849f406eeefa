"""Converts classification weights: positions learned at another image size, and timm's names."""

import re
from collections.abc import Callable, Mapping

import torch
from det_core.errors import WeightsError
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["fitted", "layer_scale", "resampled", "timm_swin"]

State = Mapping[str, Tensor]
Step = Callable[[State, State], dict[str, Tensor] | None]
"""From the weights of a file and those of the network to the weights to load; None if there is nothing to do."""

# Parts of timm's transformers that ours lack; otherwise they would be ignored like a classifier.
_FOREIGN = re.compile(r"(^|\.)(q_norm|k_norm|reg_token|norm_pre|rope|fc1_g|cpb_mlp|logit_scale)(\.|$)")


def fitted(
    network: nn.Module, steps: Mapping[str, Step], state: State, path: str
) -> tuple[str, dict[str, Tensor]] | None:
    """The `older_weights` of a network: the conversions `steps`, by name, and `resampled`.

    Raises:
        WeightsError: the file has parts that the network does not have.
    """
    prefix, expected = f"{path}." if path else "", network.state_dict()
    part: dict[str, Tensor] = {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
    if foreign := [key for key in part if _FOREIGN.search(key) and key not in expected]:
        problem, fix = f"are of another network than {type(network).__name__}", "use the network of timm: {type: timm}"
        raise WeightsError(f"weights of {path or 'the network'}", problem, f"they have {foreign[0]}", fix)
    done = []
    for name, step in {**steps, "positions of another size": resampled}.items():
        if (changed := step(part, expected)) is not None:
            part = changed
            done.append(name)
    if not done:
        return None
    others = {key: value for key, value in state.items() if not key.startswith(prefix)}
    return "; ".join(done), {**others, **{prefix + key: value for key, value in part.items()}}


def resampled(state: State, expected: State) -> dict[str, Tensor] | None:
    """Resample positions of another size: absolute ones and Swin's tables bicubically, others linearly.

    The position of a class token is dropped or kept, as the network has one or not.
    """
    weights = {key: _resample(key, value, expected[key]) if key in expected else value for key, value in state.items()}
    return None if all(weights[key] is value for key, value in state.items()) else weights


def _resample(key: str, value: Tensor, like: Tensor) -> Tensor:
    last = key.rpartition(".")[2]
    if last == "relative_position_index" and value.shape != like.shape:
        return like  # determined by the window side
    if value.shape == like.shape or value.ndim != like.ndim or value.shape[-1] != like.shape[-1]:
        return value
    if last == "pos_embed":
        return _positions(value, like.shape[1])
    if last in ("rel_pos_h", "rel_pos_w"):
        return F.interpolate(value.t()[None], size=len(like), mode="linear")[0].t()
    if last == "relative_position_bias_table":
        return _square(value, len(like))
    return value


def _positions(value: Tensor, length: int) -> Tensor:
    """(1, L, C) to (1, length, C); either may begin with the position of a class token."""
    token, grid = value[:, :0], value
    if round(value.shape[1] ** 0.5) ** 2 != value.shape[1]:
        token, grid = value[:, :1], value[:, 1:]
    if round(length**0.5) ** 2 == length:
        return _square(grid[0], length)[None]
    if not token.shape[1]:
        token = torch.zeros_like(grid[:, :1])
    return torch.cat((token, _square(grid[0], length - 1)[None]), dim=1)


def _square(grid: Tensor, length: int) -> Tensor:
    """(L, C) of a square of positions to (length, C)."""
    before, after = round(len(grid) ** 0.5), round(length**0.5)
    square = grid.t().unflatten(1, (before, before))[None]
    return F.interpolate(square, size=(after, after), mode="bicubic", align_corners=False)[0].flatten(1).t()


def layer_scale(state: State, expected: State) -> dict[str, Tensor] | None:
    """Fold timm's layer scales into the layers before them."""
    scales = {key: value for key, value in state.items() if re.search(r"\.ls[12]\.gamma$", key)}
    if not scales:
        return None
    weights = {key: value for key, value in state.items() if key not in scales}
    for key, gamma in scales.items():
        block, _, which = key.removesuffix(".gamma").rpartition(".")
        layer = f"{block}.{'attn.proj' if which == 'ls1' else 'mlp.fc2'}"
        weights[f"{layer}.weight"] = weights[f"{layer}.weight"] * gamma[:, None]
        weights[f"{layer}.bias"] = weights[f"{layer}.bias"] * gamma
    return weights


def timm_swin(state: State, expected: State) -> dict[str, Tensor] | None:
    """Rename timm's keys, where the patch merging belongs to the stage after it."""
    shrinks = {key: match for key in state if (match := re.match(r"layers[._](\d+)\.downsample\.(.+)", key))}
    if not shrinks or any(int(match[1]) == 0 for match in shrinks.values()):
        return None
    weights = {re.sub(r"^layers_(\d+)", r"layers.\1", key): value for key, value in state.items() if key not in shrinks}
    weights |= {f"layers.{int(match[1]) - 1}.downsample.{match[2]}": state[key] for key, match in shrinks.items()}
    # Determined by the window side, and not in timm's files.
    return weights | {key: value for key, value in expected.items() if key.endswith(".relative_position_index")}
