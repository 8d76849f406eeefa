"""TridentNet for det: scale-aware branches that share one set of weights."""
