"""Measure how long each object stays in the left half of a film.

python examples/video/dwell_time.py FILM MODEL
"""

import sys

from det_core import Detector
from det_video.counting import Zone
from det_video.frames import Video
from det_video.stream import stream
from det_video.tracking import ByteTracker

detector = Detector.load(sys.argv[2])
tracker = ByteTracker(high=detector.threshold)
zone = None
for result in stream(detector, Video(sys.argv[1]), tracker):
    height, width = result.image.shape[1:]
    zone = zone or Zone([(0, 0), (width / 2, 0), (width / 2, height), (0, height)], anchor="center")
    zone.update(result)
for number, seconds in sorted(zone.dwell.items()):
    print(f"object {number}: {seconds:.2f} s")
print(f"visitors: {dict(zone.visitors)}")
