"""det's own checks of a plugin, a test each; `pytest -m "not slow"` leaves out what takes long."""

from det_core.testing import conformance

test_conformance = conformance("det-densepose")
