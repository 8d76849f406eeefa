"""What det-acme adds to det, as names; nothing here is imported before it is used."""

from det_core.plugins.hooks import hookimpl


@hookimpl
def det_backbones():
    """One backbone."""
    return {"acme_tiny": "det_acme.tiny:TinyBackbone"}


@hookimpl
def det_recipes():
    """One recipe that trains it."""
    return {"acme_tiny_faster_rcnn": "det_acme:recipes/acme_tiny_faster_rcnn.yaml"}
