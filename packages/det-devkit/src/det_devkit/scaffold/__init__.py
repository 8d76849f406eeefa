"""Writes the package of a new plugin, for `det new-plugin`."""

from det_devkit.scaffold.names import Names, check_name
from det_devkit.scaffold.writer import KINDS, new_plugin

__all__ = ["KINDS", "Names", "check_name", "new_plugin"]
