"""Proposal generators by name, as `detectron2.modeling.proposal_generator.build`."""

from typing import Any

from det_detectron2.layer.utils.registry import Registry

__all__ = ["PROPOSAL_GENERATOR_REGISTRY", "build_proposal_generator"]

PROPOSAL_GENERATOR_REGISTRY = Registry("PROPOSAL_GENERATOR")
"""Classes that are made of `(cfg, input_shape)` and called with images, features and, in training, instances."""


def build_proposal_generator(cfg: Any, input_shape: Any) -> Any:
    """The generator that MODEL.PROPOSAL_GENERATOR.NAME names; None for "PrecomputedProposals"."""
    name = cfg.MODEL.PROPOSAL_GENERATOR.NAME
    return None if name == "PrecomputedProposals" else PROPOSAL_GENERATOR_REGISTRY.get(name)(cfg, input_shape)
