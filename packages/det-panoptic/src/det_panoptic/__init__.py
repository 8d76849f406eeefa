"""det-panoptic: panoptic and semantic segmentation."""
