"""Small detectors that run on devices: FBNetV3, and the models of D2Go."""
