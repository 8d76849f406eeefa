"""Backbones of published DensePose models: HRNet and its feature pyramid."""

from det_densepose.backbones.hrfpn import HRFPN
from det_densepose.backbones.hrnet import HRNet

__all__ = ["HRFPN", "HRNet"]
