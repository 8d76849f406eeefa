"""The interface of Detectron2 0.6 that applications use, on det's parts; imported as `detectron2`.

See `det_detectron2.as_detectron2`. Names, arguments, formats and defaults are those of Detectron2's documentation.
"""

__version__ = "0.6"
