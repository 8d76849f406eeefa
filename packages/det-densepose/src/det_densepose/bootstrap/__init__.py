"""Bootstrapping: training data from predictions."""
