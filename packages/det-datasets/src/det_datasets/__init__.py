"""Benchmarks and formats beyond COCO for det: LVIS, PASCAL VOC, Cityscapes, YOLO; readers, evaluators, recipes."""
