"""Helper modules of this folder, importable by name from a recipe too; plugins installed as an installer would."""

import sys
from pathlib import Path

import pytest
from det_devkit.fixtures import install, site, without

__all__ = ["install", "site", "without"]

sys.path.insert(0, str(Path(__file__).parent))
import listing

listing.list_parts("standins")


@pytest.fixture
def write(tmp_path):
    """Writes a text to a file of a temporary folder, by default r.yaml."""

    def do(text: str, name: str = "r.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return do
