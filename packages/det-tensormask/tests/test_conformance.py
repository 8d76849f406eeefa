"""det's own checks of a plugin, a test each; `pytest -m "not slow"` leaves out what takes long."""

from det_devkit.conformance import conformance

SMALL = {"num_convs": 1, "class_channels": 8, "box_channels": 8, "mask_channels": 8, "windows": [5, 7]}

test_conformance = conformance("det-tensormask", examples={"heads/tensormask_head": SMALL})
