"""Converts configuration files of other libraries into recipes, without torch."""
