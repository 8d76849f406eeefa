"""det's own checks of a plugin, a test each; `pytest -m "not slow"` leaves out what takes long."""

from det_devkit.conformance import conformance

# The kit's pictures are smaller than dynamic sizes begin.
FIXED = {"dynamic": False}

test_conformance = conformance("det-export", examples={"exporters/torch_export": FIXED, "exporters/onnx": FIXED})
