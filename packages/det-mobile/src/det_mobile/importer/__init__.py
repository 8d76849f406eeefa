"""The settings of D2Go, for `det recipes import`; see `det_detectron2.importer.extensions`."""

from det_mobile.importer.extension import EXTENSION

__all__ = ["EXTENSION"]
