"""Helper modules of this folder, importable by name from a recipe too; plugins installed as an installer would."""

import sys
from pathlib import Path

import pytest
from det_core.recipes import allow_list
from det_devkit.fixtures import install, site, without

__all__ = ["install", "site", "without"]

sys.path.insert(0, str(Path(__file__).parent))
_LISTED = allow_list.listed


def _with_standins() -> dict[str, str]:
    """The list, as if standins were the parts of an installed plugin."""
    import standins

    own = {f"standins:{name}": "" for name, value in vars(standins).items() if callable(value) and name[:1] != "_"}
    return _LISTED() | own


allow_list.listed = _with_standins


@pytest.fixture
def write(tmp_path):
    """Writes a text to a file of a temporary folder, by default r.yaml."""

    def do(text: str, name: str = "r.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return do
