"""TensorMask for det: sliding-window instance segmentation."""
