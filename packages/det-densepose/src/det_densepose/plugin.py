"""What det-densepose adds to det, as names; nothing here is imported before it is used."""

from det_core.hooks import hookimpl


@hookimpl
def det_backbones() -> dict[str, str]:
    """HRNet, and the pyramid over it."""
    return {
        "hrfpn": "det_densepose.backbones:HRFPN",
        "hrnet": "det_densepose.backbones:HRNet",
    }


@hookimpl
def det_heads() -> dict[str, str]:
    """The branch of DensePose, and the second stage that holds it."""
    return {
        "densepose_head": "det_densepose.models:DensePoseHead",
        "densepose_roi_heads": "det_densepose.models:densepose_roi_heads",
    }


@hookimpl
def det_datasets() -> dict[str, str]:
    """Annotated points on the surface of bodies."""
    return {"densepose": "det_densepose.data:DensePoseDataset"}


@hookimpl
def det_evaluators() -> dict[str, str]:
    """Geodesic point similarity."""
    return {"densepose": "det_densepose.evaluation:DensePoseEvaluator"}
