"""The roles of the two parts of a box branch: the head on pooled features, and the predictor after it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from det_core import contracts
from det_core.structures import Detections, Proposals, Size
from torch import Tensor, nn

from det_devkit.conformance.heads import HeadInputs, HeadRole, pooled, split
from det_devkit.conformance.outputs import require_detections, require_each, require_losses
from det_devkit.conformance.report import Failed
from det_devkit.conformance.synthetic import Scene
from det_devkit.conformance.tensors import flat

__all__ = ["BoxHeadRole", "BoxPredictorRole"]


class Pooled(NamedTuple):
    """Pooled features (P, C, side, side) of the regions of several images."""

    features: Tensor
    regions: list[Proposals]


class BoxHeadRole(HeadRole):
    """Pooled features in, one vector per region out."""

    contract = contracts.BoxHead
    members = ("forward", "out_dim")

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.in_channels, self.resolution = config.get("in_channels", 32), config.get("resolution", 7)

    def parents(self) -> Mapping[str, Any]:
        """Channels and size of the pooled features."""
        return {"in_channels": self.in_channels, "resolution": self.resolution}

    def require(self, module: Any, scene: Scene) -> None:
        """The output has the declared number of channels per region."""
        super().require(module, scene)
        inputs = self.inputs(module, scene)
        out = module(inputs.features)
        expected = (len(inputs.features), module.out_dim)
        if not isinstance(out, Tensor) or tuple(out.shape) != expected:
            detections = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise Failed(
                f"forward returns {detections} for {expected[0]} regions and out_dim {expected[1]}",
                "return (P, out_dim)",
            )

    def inputs(self, module: Any, scene: Scene) -> Pooled:
        """Pooled features of the regions."""
        inputs: HeadInputs = super().inputs(module, scene)
        return Pooled(pooled(inputs, self.in_channels, self.resolution), inputs.regions)

    def predict(self, module: Any, inputs: Pooled) -> list[dict[str, Tensor]]:
        """The output vectors of each image's regions."""
        return [{"out": rows} for rows in split(module(inputs.features), inputs.regions)]

    def losses(self, module: Any, inputs: Pooled) -> dict[str, Tensor]:
        """Distance of the output from the mean of the input."""
        expected = inputs.features.flatten(1).mean(dim=1, keepdim=True)
        return {"distance": (module(inputs.features) - expected).float().square().sum() / max(expected.numel(), 1)}

    def exportable(self, module: Any, inputs: Pooled) -> tuple[nn.Module, tuple[Any, ...]]:
        """The whole head."""
        return module, (inputs.features,)


class Regions(NamedTuple):
    """Inputs of a box predictor: (P, in_dim) for the regions of several images, and their ground truth."""

    x: Tensor
    regions: list[Proposals]
    sizes: list[Size]
    labels: Tensor
    boxes: Tensor


class BoxPredictorRole(HeadRole):
    """One vector per region in, detections out."""

    contract = contracts.BoxPredictor
    members = ("forward", "losses", "detect")

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.in_dim = config.get("in_dim", 32)

    def parents(self) -> Mapping[str, Any]:
        """Number of input channels, and number of classes."""
        return {"in_dim": self.in_dim, "num_classes": self.num_classes}

    def require(self, module: Any, scene: Scene) -> None:
        """Losses, and detections of each image."""
        super().require(module, scene)
        inputs = self.inputs(module, scene)
        require_losses(self.losses(module, inputs), "losses")
        detections = self._detect(module, inputs)
        require_each(detections, Detections, len(scene), "detect")
        for one, size in zip(detections, inputs.sizes, strict=True):
            require_detections(one, size, self.num_classes)

    def inputs(self, module: Any, scene: Scene) -> Regions:
        """Vectors that differ between regions; every third region is background."""
        inputs: HeadInputs = super().inputs(module, scene)
        x = pooled(inputs, self.in_dim, 1).flatten(1)
        pairs = list(zip(inputs.targets, inputs.matched_idxs, strict=True))
        labels = torch.cat([targets.labels[matched_idxs] for targets, matched_idxs in pairs])
        labels = torch.where(torch.arange(len(labels)) % 3 == 2, self.num_classes, labels)
        boxes = torch.cat([targets.boxes[matched_idxs] for targets, matched_idxs in pairs])
        return Regions(x, inputs.regions, inputs.sizes, labels, boxes)

    def predict(self, module: Any, inputs: Regions) -> list[dict[str, Tensor]]:
        """The detections of each image."""
        return [flat(one) for one in self._detect(module, inputs)]

    def losses(self, module: Any, inputs: Regions) -> dict[str, Tensor]:
        """The losses of the predictor."""
        proposals = torch.cat([regions.boxes for regions in inputs.regions])
        losses: dict[str, Tensor] = module.losses(module(inputs.x), proposals, inputs.labels, inputs.boxes)
        return losses

    def exportable(self, module: Any, inputs: Regions) -> tuple[nn.Module, tuple[Any, ...]]:
        """The part before decoding."""
        return module, (inputs.x,)

    def _detect(self, module: Any, inputs: Regions) -> list[Detections]:
        detections: list[Detections] = module.detect(module(inputs.x), [r.boxes for r in inputs.regions], inputs.sizes)
        return detections
