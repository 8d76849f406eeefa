"""How fast a model is in each runtime, how much memory it takes, and whether it predicts the same there."""
