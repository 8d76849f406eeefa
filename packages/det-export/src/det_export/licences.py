"""Under which licence published weights are, as far as their publishers write."""

from collections.abc import Mapping
from typing import Any

__all__ = ["licence_in", "licence_of"]

# Where weights lie: the licence (SPDX) that the publisher's list of models names for all of them.
_LICENCES: Mapping[str, str] = {
    "https://dl.fbaipublicfiles.com/detectron2/": "CC-BY-SA-3.0",
    "https://dl.fbaipublicfiles.com/densepose/": "CC-BY-SA-3.0",
}


def licence_of(weights: str) -> str:
    """The licence of published weights at an address; "" where none is known."""
    return next((licence for place, licence in _LICENCES.items() if weights.startswith(place)), "")


def licence_in(about: Mapping[str, Any]) -> str:
    """The "licence" in the `about` of an exporter; where it is absent, that of the published "weights"."""
    return str(about.get("licence", licence_of(str(about.get("weights", "")))))
