"""Tools beside models and data, as `detectron2.utils`."""
