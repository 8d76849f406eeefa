"""Data sets by name, as `detectron2.data`."""

from det_detectron2.layer.data import builtin
from det_detectron2.layer.data.catalog import DatasetCatalog, Metadata, MetadataCatalog

__all__ = ["DatasetCatalog", "Metadata", "MetadataCatalog"]

builtin.register_all()
