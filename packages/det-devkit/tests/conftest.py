"""Helper modules of this folder are importable by name."""

import sys
from pathlib import Path

from det_devkit.fixtures import install, site

__all__ = ["install", "site"]

sys.path.insert(0, str(Path(__file__).parent))
