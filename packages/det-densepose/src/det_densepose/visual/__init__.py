"""Drawings of DensePose."""
