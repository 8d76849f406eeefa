"""Costs of models: parameters, operations and activations."""

from det_inspect.models.costs import ModuleCost, model_costs
from det_inspect.models.page import costs_page

__all__ = ["ModuleCost", "costs_page", "model_costs"]
