"""The licences of published weights, as stated by their publishers."""

from collections.abc import Mapping
from typing import Any

from det_core.zoo import published

__all__ = ["licence_in", "licence_of"]


def licence_of(weights: str) -> str:
    """The licence (SPDX) of published weights at an address; "" if unknown."""
    models = published.models().values()
    return next((model.licenses.get("weights", "") for model in models if weights and model.weights == weights), "")


def licence_in(about: Mapping[str, Any]) -> str:
    """The "licence" in the `about` of an exporter; where it is absent, that of the published "weights"."""
    return str(about.get("licence", licence_of(str(about.get("weights", "")))))
