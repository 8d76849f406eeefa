"""Inspection of data and results: checks and conversions of datasets, and error analysis of models."""
