"""Anchors that fit the boxes of a dataset."""

from det_mobile.anchors.kmeans import cluster_sizes, within_squares

__all__ = ["cluster_sizes", "within_squares"]
