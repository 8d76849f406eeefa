"""The data of the configurations of DensePose: published datasets, and what is done with them."""

from typing import Any

from det_core.importers.settings import Settings

__all__ = ["BODIES", "DATASETS", "complete_data"]

BODIES = {"type": "det_densepose.bodies.published:BodyFolder", "folder": "densepose"}
"""Where published meshes are: a folder within the data folder, which its user fills."""

DATASETS: dict[str, Any] = {}


def complete_data(s: Settings, tree: dict[str, Any]) -> None:
    """Change the data of a recipe in place."""
