"""Backbones that DensePose was published with: HRNet and the pyramid over it."""

from det_densepose.backbones.hrfpn import HRFPN
from det_densepose.backbones.hrnet import HRNet

__all__ = ["HRFPN", "HRNet"]
