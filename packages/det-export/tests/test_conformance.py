"""det's own checks of a plugin, a test each; `pytest -m "not slow"` leaves out what takes long."""

from det_devkit.conformance import conformance

# The kit's pictures are smaller than dynamic sizes begin. ONNX is not run with them: proposals of the kit's RPN then
# differ in number, 342 of the file and 331 of the model, for a reason not yet known; docs/export.md lists it as open.
FIXED = {"dynamic": False}

test_conformance = conformance("det-export", examples={"exporters/torch_export": FIXED})
