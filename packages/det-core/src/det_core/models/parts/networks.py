"""The networks of a model that can be compiled apart from its decoding."""

from torch import nn

from det_core.contracts import Compilable

__all__ = ["networks_of"]


def networks_of(*parts: nn.Module | None) -> list[nn.Module]:
    """The networks that the parts of a model name, in order; parts that name none, and None, have none."""
    return [network for part in parts if isinstance(part, Compilable) for network in part.networks()]
