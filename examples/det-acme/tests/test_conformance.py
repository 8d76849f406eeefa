"""Every check of det's conformance kit, as a test of its own."""

from det_devkit.conformance import conformance

test_conformance = conformance("det-acme")
