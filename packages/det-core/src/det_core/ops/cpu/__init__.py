"""Faster CPU implementations; `det_core.models.cpu` installs them in a model."""
