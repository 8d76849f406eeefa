"""What det-vitdet adds to det, as names; nothing here is imported before it is used."""

from det_core.hooks import hookimpl


@hookimpl
def det_backbones() -> dict[str, str]:
    """Transformers, and the pyramid that a plain one needs."""
    return {
        "mvit": "det_vitdet.mvit:MViT",
        "simple_feature_pyramid": "det_vitdet.pyramid:SimpleFeaturePyramid",
        "swin": "det_vitdet.swin:Swin",
        "vit": "det_vitdet.vit:ViT",
    }
