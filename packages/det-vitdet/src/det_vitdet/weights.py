"""Weights of classification networks, made to fit: positions learnt at another size, and the names that timm gives."""

import re
from collections.abc import Callable, Mapping

import torch
from det_core.errors import WeightsError
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["fitted", "layer_scale", "resampled", "timm_swin"]

State = Mapping[str, Tensor]
Step = Callable[[State, State], dict[str, Tensor] | None]
"""From the weights of a network as a file has them, and our own, to those to load; None: there is nothing to do."""

# Parts of timm's transformers that ours do not have, and that would otherwise be passed over like a classifier.
_FOREIGN = re.compile(r"(^|\.)(q_norm|k_norm|reg_token|norm_pre|rope|fc1_g|cpb_mlp|logit_scale)(\.|$)")


def fitted(
    network: nn.Module, steps: Mapping[str, Step], state: State, path: str
) -> tuple[str, dict[str, Tensor]] | None:
    """What `older_weights` of a network answers: these steps, by name, and `resampled`, on what the file has of it.

    Raises:
        WeightsError: the file has parts that the network does not have.
    """
    prefix, own = f"{path}." if path else "", network.state_dict()
    part: dict[str, Tensor] = {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
    if foreign := [key for key in part if _FOREIGN.search(key) and key not in own]:
        problem, fix = f"are of another network than {type(network).__name__}", "use the network of timm: {type: timm}"
        raise WeightsError(f"weights of {path or 'the network'}", problem, f"they have {foreign[0]}", fix)
    done = []
    for name, step in {**steps, "positions of another size": resampled}.items():
        if (changed := step(part, own)) is not None:
            part = changed
            done.append(name)
    if not done:
        return None
    others = {key: value for key, value in state.items() if not key.startswith(prefix)}
    return "; ".join(done), {**others, **{prefix + key: value for key, value in part.items()}}


def resampled(state: State, own: State) -> dict[str, Tensor] | None:
    """Positions of another size, resampled: absolute ones and Swin's tables bicubically, others linearly.

    A class token's position is dropped, or kept, as ours has one or not.
    """
    found = {key: _resample(key, value, own[key]) if key in own else value for key, value in state.items()}
    return None if all(found[key] is value for key, value in state.items()) else found


def _resample(key: str, value: Tensor, like: Tensor) -> Tensor:
    last = key.rpartition(".")[2]
    if last == "relative_position_index" and value.shape != like.shape:
        return like  # it follows from the side of the windows
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


def layer_scale(state: State, own: State) -> dict[str, Tensor] | None:
    """Scales of layers (timm), which become part of the layer before them."""
    scales = {key: value for key, value in state.items() if re.search(r"\.ls[12]\.gamma$", key)}
    if not scales:
        return None
    found = {key: value for key, value in state.items() if key not in scales}
    for key, gamma in scales.items():
        block, _, which = key.removesuffix(".gamma").rpartition(".")
        layer = f"{block}.{'attn.proj' if which == 'ls1' else 'mlp.fc2'}"
        found[f"{layer}.weight"] = found[f"{layer}.weight"] * gamma[:, None]
        found[f"{layer}.bias"] = found[f"{layer}.bias"] * gamma
    return found


def timm_swin(state: State, own: State) -> dict[str, Tensor] | None:
    """Names of timm, where the layer that shrinks a map belongs to the stage after it."""
    shrinks = {key: match for key in state if (match := re.match(r"layers[._](\d+)\.downsample\.(.+)", key))}
    if not shrinks or any(int(match[1]) == 0 for match in shrinks.values()):
        return None
    found = {re.sub(r"^layers_(\d+)", r"layers.\1", key): value for key, value in state.items() if key not in shrinks}
    found |= {f"layers.{int(match[1]) - 1}.downsample.{match[2]}": state[key] for key, match in shrinks.items()}
    # What follows from the side of the windows alone, and is not in timm's files.
    return found | {key: value for key, value in own.items() if key.endswith(".relative_position_index")}
