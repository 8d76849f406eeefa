"""Results in files: read, checked and compared with annotations by COCO's rules."""
