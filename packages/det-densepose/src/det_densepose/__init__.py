"""DensePose for det: every pixel of a person, or of an animal, on the surface of a body."""
