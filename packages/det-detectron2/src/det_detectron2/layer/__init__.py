"""The interface of Detectron2 0.6 that applications use, on det's parts; imported as `detectron2`.

See `det_detectron2.as_detectron2`. Names, arguments, formats and defaults are those of Detectron2's documentation.
"""

import importlib.util

from det_core.errors import MissingExtraError

__version__ = "0.6"

_missing = [name for name in ("yacs", "omegaconf", "fvcore") if importlib.util.find_spec(name) is None]
if _missing:
    raise MissingExtraError(
        "det_detectron2.layer",
        f"needs {' and '.join(_missing)}, which {'is' if len(_missing) == 1 else 'are'} not installed",
        fix='pip install "det-detectron2[layer]" --find-links WHEELS',
    )
