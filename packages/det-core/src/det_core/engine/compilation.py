"""Compilation of a model's networks by `torch.compile`."""

from torch import nn

from det_core.contracts import Compilable
from det_core.errors import ConfigError

__all__ = ["compile_networks"]


def compile_networks(model: nn.Module) -> None:
    """Let `torch.compile` translate the networks of `model`, in place, at their first call; the keys stay.

    Raises:
        ConfigError: the model does not name its networks.
    """
    if not isinstance(model, Compilable):
        fix = "give it `networks()`, or do without compilation"
        raise ConfigError("compile", "needs a model that names its networks", f"got {type(model).__name__}", fix)
    for network in model.networks():
        network.compile()
