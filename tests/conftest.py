"""Plugins installed as an installer would; helper modules of this folder are importable by name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from det_devkit.fixtures import install, site, without

__all__ = ["install", "site", "without"]
