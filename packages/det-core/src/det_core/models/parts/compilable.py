"""The networks of a model that can be compiled separately from its decoding."""

from torch import nn

from det_core.contracts import Compilable

__all__ = ["networks_of"]


def networks_of(*parts: object) -> list[nn.Module]:
    """The networks of several parts, in order; parts without `networks`, and None, have none."""
    return [network for part in parts if isinstance(part, Compilable) for network in part.networks()]
