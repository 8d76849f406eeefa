"""Readers of annotated images, one module per format."""
