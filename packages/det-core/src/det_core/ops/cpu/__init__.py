"""Faster CPU implementations; `det_core.models.cpu_acceleration` installs them in a model."""
