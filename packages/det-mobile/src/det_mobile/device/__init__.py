"""Detectors in the form that runtimes of devices take: fixed shapes, plain operations, and a little host code."""
