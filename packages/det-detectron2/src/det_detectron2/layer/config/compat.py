"""Earlier versions of settings, as `detectron2.config.compat`."""

from det_detectron2.layer.config.versions import *  # noqa: F403
from det_detectron2.layer.config.versions import __all__ as __all__
