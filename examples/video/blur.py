"""Write a film in which the objects of a class cannot be recognized, without boxes or sound.

python examples/video/blur.py FILM MODEL CLASS FOLDER
"""

import sys
from dataclasses import replace
from pathlib import Path

from det_core import Detector
from det_core.predict.writers import ImageName
from det_video.drawing import blurred
from det_video.stream import stream
from det_video.writers import FilmWriter

film, model, name, folder = sys.argv[1:]
Path(folder).mkdir(parents=True, exist_ok=True)
writer = FilmWriter(Path(folder))
count = 0
for result in stream(Detector.load(model), film, threshold=0.1):  # a low threshold: better too many than too few
    objects = result.filtered(classes=[name]).detections
    count += len(objects)
    clean = replace(result, image=blurred(result.image, objects.boxes)).filtered(limit=0)
    writer.write(clean, ImageName(result.index + 1, film, film))
writer.finish()
print(f"blurred {count} times {name}")
