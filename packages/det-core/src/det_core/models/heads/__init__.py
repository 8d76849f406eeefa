"""Heads: proposals, regions of interest, dense predictions."""
