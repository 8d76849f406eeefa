"""Ray for det: prediction and evaluation of millions of images on many machines."""
