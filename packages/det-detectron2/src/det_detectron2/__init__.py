"""Configurations of Detectron2, YAML and Python, as recipes of det."""
