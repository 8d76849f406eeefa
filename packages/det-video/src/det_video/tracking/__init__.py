"""Multi-object tracking: the same number for the same object in all frames."""

from det_video.tracking.tracker import EMBEDDING, TRACK_ID, Association, ByteTracker, track_ids

__all__ = ["EMBEDDING", "TRACK_ID", "Association", "ByteTracker", "track_ids"]
