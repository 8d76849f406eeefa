"""Count the objects that cross the middle of a film from left to right, and back.

python examples/video/count_crossings.py FILM MODEL
"""

import sys

from det_core import Detector
from det_video.counting import CountingLine
from det_video.frames import Video
from det_video.stream import stream
from det_video.tracking import ByteTracker

detector = Detector.load(sys.argv[2])
tracker = ByteTracker(high=detector.threshold)
line = None
for result in stream(detector, Video(sys.argv[1]), tracker):
    height, width = result.image.shape[1:]
    line = line or CountingLine((width / 2, height), (width / 2, 0), anchor="center")
    for number in line.update(result):
        print(f"{result.time:.2f} s: object {number} crosses")
print(f"to the right: {dict(line.forward)}, to the left: {dict(line.backward)}")
