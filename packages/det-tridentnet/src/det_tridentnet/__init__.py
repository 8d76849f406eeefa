"""TridentNet for det: one set of weights that looks at several scales."""
