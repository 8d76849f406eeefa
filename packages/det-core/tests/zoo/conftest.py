"""The published model of these tests."""

from published_model import server, tiny, trained

__all__ = ["server", "tiny", "trained"]
