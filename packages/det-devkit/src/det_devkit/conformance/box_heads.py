"""The roles of the two parts of a box branch: the head on pooled features, and the predictor after it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from det_core import contracts
from det_core.structures import Detections, Proposals, Size
from torch import Tensor, nn

from det_devkit.conformance.heads import Given, HeadRole, pooled, split
from det_devkit.conformance.outputs import require_detections, require_each, require_losses
from det_devkit.conformance.report import Failed
from det_devkit.conformance.scenes import Scene
from det_devkit.conformance.tensors import flat

__all__ = ["BoxHeadRole", "BoxPredictorRole"]


class Pooled(NamedTuple):
    """Pooled features (P, C, side, side) of the regions of some pictures."""

    features: Tensor
    regions: list[Proposals]


class BoxHeadRole(HeadRole):
    """Pooled features in, numbers per region out."""

    contract = contracts.BoxHead
    members = ("forward", "out_dim")

    def __init__(self, told: Mapping[str, Any]) -> None:
        super().__init__(told)
        self.in_channels, self.resolution = told.get("in_channels", 32), told.get("resolution", 7)

    def parents(self) -> Mapping[str, Any]:
        """The size of what is pooled."""
        return {"in_channels": self.in_channels, "resolution": self.resolution}

    def require(self, module: Any, scene: Scene) -> None:
        """As many numbers per region as it declares."""
        super().require(module, scene)
        given = self.inputs(module, scene)
        out = module(given.features)
        wanted = (len(given.features), module.out_dim)
        if not isinstance(out, Tensor) or tuple(out.shape) != wanted:
            found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise Failed(
                f"forward returns {found} for {wanted[0]} regions and out_dim {wanted[1]}", "return (P, out_dim)"
            )

    def inputs(self, module: Any, scene: Scene) -> Pooled:
        """What a pooler makes of the regions."""
        given: Given = super().inputs(module, scene)
        return Pooled(pooled(given, self.in_channels, self.resolution), given.regions)

    def predict(self, module: Any, inputs: Pooled) -> list[dict[str, Tensor]]:
        """The numbers of each picture's regions."""
        return [{"out": rows} for rows in split(module(inputs.features), inputs.regions)]

    def losses(self, module: Any, inputs: Pooled) -> dict[str, Tensor]:
        """How far the numbers are from the mean of what came in."""
        wanted = inputs.features.flatten(1).mean(dim=1, keepdim=True)
        return {"distance": (module(inputs.features) - wanted).float().square().sum() / max(wanted.numel(), 1)}

    def exportable(self, module: Any, inputs: Pooled) -> tuple[nn.Module, tuple[Any, ...]]:
        """All of it."""
        return module, (inputs.features,)


class Regions(NamedTuple):
    """What a box predictor is given: (P, in_dim) of the regions of some pictures, and their truth."""

    x: Tensor
    regions: list[Proposals]
    sizes: list[Size]
    labels: Tensor
    boxes: Tensor


class BoxPredictorRole(HeadRole):
    """Numbers per region in, detections out."""

    contract = contracts.BoxPredictor
    members = ("forward", "losses", "detect")

    def __init__(self, told: Mapping[str, Any]) -> None:
        super().__init__(told)
        self.in_dim = told.get("in_dim", 32)

    def parents(self) -> Mapping[str, Any]:
        """How many numbers come in, and the number of classes."""
        return {"in_dim": self.in_dim, "num_classes": self.num_classes}

    def require(self, module: Any, scene: Scene) -> None:
        """Losses, and detections of each image."""
        super().require(module, scene)
        given = self.inputs(module, scene)
        require_losses(self.losses(module, given), "losses")
        found = self._detect(module, given)
        require_each(found, Detections, len(scene), "detect")
        for one, size in zip(found, given.sizes, strict=True):
            require_detections(one, size, self.num_classes)

    def inputs(self, module: Any, scene: Scene) -> Regions:
        """Numbers that tell regions apart; every third region is background."""
        given: Given = super().inputs(module, scene)
        x = pooled(given, self.in_dim, 1).flatten(1)
        pairs = list(zip(given.targets, given.partners, strict=True))
        labels = torch.cat([truth.labels[partner] for truth, partner in pairs])
        labels = torch.where(torch.arange(len(labels)) % 3 == 2, self.num_classes, labels)
        boxes = torch.cat([truth.boxes[partner] for truth, partner in pairs])
        return Regions(x, given.regions, given.sizes, labels, boxes)

    def predict(self, module: Any, inputs: Regions) -> list[dict[str, Tensor]]:
        """The detections of each picture."""
        return [flat(one) for one in self._detect(module, inputs)]

    def losses(self, module: Any, inputs: Regions) -> dict[str, Tensor]:
        """Its losses."""
        proposals = torch.cat([regions.boxes for regions in inputs.regions])
        losses: dict[str, Tensor] = module.losses(module(inputs.x), proposals, inputs.labels, inputs.boxes)
        return losses

    def exportable(self, module: Any, inputs: Regions) -> tuple[nn.Module, tuple[Any, ...]]:
        """All before decoding."""
        return module, (inputs.x,)

    def _detect(self, module: Any, inputs: Regions) -> list[Detections]:
        found: list[Detections] = module.detect(module(inputs.x), [r.boxes for r in inputs.regions], inputs.sizes)
        return found
