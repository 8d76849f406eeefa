"""The commands `det ray predict` and `det ray eval`."""
