"""Whole detectors: two stages, one stage, semantic segmentation."""
