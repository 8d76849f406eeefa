"""det-panoptic: every pixel of an image, things and stuff."""
