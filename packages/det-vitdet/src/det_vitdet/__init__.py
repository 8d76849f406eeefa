"""ViTDet, MViTv2 and Swin: transformers as backbones of detectors."""
