"""Plugins installed as an installer would."""

from det_devkit.fixtures import install, site, without

__all__ = ["install", "site", "without"]
