"""Networks that turn an image into feature maps."""

from det_core.backbones.fpn import FPN
from det_core.backbones.regnet import RegNet
from det_core.backbones.resnet import ResNet
from det_core.backbones.torchvision_backbone import TorchvisionBackbone
from det_core.ops.deform_conv import Deformation

__all__ = ["FPN", "Deformation", "RegNet", "ResNet", "TorchvisionBackbone"]
