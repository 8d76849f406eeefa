"""Detectors for on-device runtimes: fixed shapes, plain operations, and a small amount of host code."""
