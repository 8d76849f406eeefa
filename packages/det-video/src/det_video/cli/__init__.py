"""Commands: predictions of videos, and metrics of tracks."""
