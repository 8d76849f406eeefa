"""Write a film of a second that moves over a photograph, to try the other examples with.

python examples/video/make_film.py PHOTO FILM
"""

import sys

import av
import numpy as np
from PIL import Image

photo = np.asarray(Image.open(sys.argv[1]).convert("RGB"))
with av.open(sys.argv[2], "w") as output:
    stream = output.add_stream("mpeg4", rate=25)
    stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 480, 360, "yuv420p", 2_000_000
    for x in range(0, 150, 6):
        window = np.ascontiguousarray(photo[60:420, x : x + 480])
        output.mux(stream.encode(av.VideoFrame.from_ndarray(window, format="rgb24")))
    output.mux(stream.encode(None))
