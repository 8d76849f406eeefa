"""Video for det: frames, tracking, films with the objects drawn on them, and metrics of tracking."""
