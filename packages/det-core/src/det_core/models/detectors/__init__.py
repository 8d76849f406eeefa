"""Complete detectors: two-stage and one-stage."""
