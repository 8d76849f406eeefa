"""Helper modules of this folder are importable by name, then those of core: the stand-ins that train in a second."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[2] / "det-core" / "tests"))
sys.path.append(str(Path(__file__).parents[2] / "det-datasets" / "tests"))

from det_devkit.fixtures import without
from published_model import server, tiny, trained

__all__ = ["server", "tiny", "trained", "without"]
