"""Commands of `det`."""
