"""Detect objects with an ONNX file of `det export`, with onnxruntime, NumPy and Pillow alone.

    python detect.py cells.onnx photo.jpg --output found.png

The file is one that resizes, as `det export --format onnx` writes it; its metadata name the classes.
"""

import argparse
import json

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageOps

COLORS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#f032e6", "#808000")


def detect(session, picture, threshold):
    """The outputs of the file by name, for objects of at least this score; boxes are in pixels of the picture."""
    names = [each.name for each in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, {"image": np.asarray(picture)}), strict=True))
    passing = outputs["scores"] >= threshold
    return {name: values[passing] for name, values in outputs.items()}


def painted(picture, mask, box, color):
    """The picture with one mask, probabilities (S, S) within its box, over it."""
    left, top, right, bottom = (round(float(value)) for value in box)
    if right <= left or bottom <= top:
        return picture
    mask = Image.fromarray(mask.astype(np.float32)).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    share = Image.fromarray(np.where(np.asarray(mask) >= 0.5, 128, 0).astype(np.uint8))
    picture.paste(Image.new("RGB", share.size, color), (left, top), share)
    return picture


def main():
    """Print a line per object, and write the picture with boxes and masks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("picture")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--output", default="found.png")
    options = parser.parse_args()
    session = onnxruntime.InferenceSession(options.model, providers=["CPUExecutionProvider"])
    if [each.name for each in session.get_inputs()] != ["image"]:
        parser.error(f"{options.model} does not resize: write it with `det export --format onnx --resize`")
    classes = json.loads(session.get_modelmeta().custom_metadata_map["det"])["classes"]
    picture = ImageOps.exif_transpose(Image.open(options.picture)).convert("RGB")
    outputs = detect(session, picture, options.threshold)
    for index, (box, label, score) in enumerate(
        zip(outputs["boxes"], outputs["labels"], outputs["scores"], strict=True)
    ):
        color = COLORS[label % len(COLORS)]
        if "masks" in outputs:
            picture = painted(picture, outputs["masks"][index], box, color)
        ImageDraw.Draw(picture).rectangle(box.tolist(), None, color, 2)
        print(f"{classes[label]} {score:.4f} " + " ".join(f"{value:.2f}" for value in box))
    picture.save(options.output)


if __name__ == "__main__":
    main()
