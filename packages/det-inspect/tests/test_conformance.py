"""det's own checks of a plugin, a test each."""

from det_devkit.conformance import conformance

test_conformance = conformance("det-inspect")
