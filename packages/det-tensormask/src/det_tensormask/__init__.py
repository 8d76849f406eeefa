"""TensorMask for det: instance segmentation by a sliding window."""
