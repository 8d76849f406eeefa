"""Helper modules of this folder are importable by name; and an environment that holds no other importers."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from det_core import plugins
from det_detectron2.importer import extensions
from det_devkit.fixtures import without

__all__ = ["without"]

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def alone(without: Callable[..., None]) -> Iterator[None]:
    """Nothing else is installed that knows settings of Detectron2's projects."""
    without(*{plugin.distribution for plugin in plugins.catalog().plugins} - {"det-core", "det-detectron2"})
    extensions.forget()
    yield
    extensions.forget()
