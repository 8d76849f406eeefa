"""Complete detectors: two-stage, one-stage, semantic segmentation."""
