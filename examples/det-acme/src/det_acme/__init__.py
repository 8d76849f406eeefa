"""det-acme: an example of a det plugin."""
