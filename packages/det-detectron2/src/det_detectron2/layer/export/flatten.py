"""Not there, as `detectron2.export.flatten`: errors that name det's own exporters."""

from det_detectron2.layer.export.missing import missing

__all__ = ["TracingAdapter", "flatten_to_tuple"]

TracingAdapter = missing("detectron2.export.flatten.TracingAdapter")
flatten_to_tuple = missing("detectron2.export.flatten.flatten_to_tuple")
