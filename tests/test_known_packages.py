"""What an error recommends to install is a folder in packages/."""

from pathlib import Path

from det_core.plugins import known

PACKAGES = {path.parent.name for path in (Path(__file__).parents[1] / "packages").glob("*/pyproject.toml")}


def test_known_packages_are_folders_of_this_repository():
    named = {*known.PACKAGES, *known.COMMANDS.values(), known.provider("detectron2", "importers")}
    assert named <= PACKAGES
