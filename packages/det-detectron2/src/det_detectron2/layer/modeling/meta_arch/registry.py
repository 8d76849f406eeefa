"""The registry of whole models."""

from det_detectron2.layer.utils.registry import Registry

__all__ = ["META_ARCH_REGISTRY"]

META_ARCH_REGISTRY = Registry("META_ARCH")
"""Modules that are made of a `cfg`."""
