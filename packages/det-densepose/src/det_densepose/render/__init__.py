"""Renders the synthetic figure, with ground truth at every pixel."""
