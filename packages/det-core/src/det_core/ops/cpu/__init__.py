"""Faster ways of the same computations on a CPU; `det_core.models.cpu` puts them into a model."""
