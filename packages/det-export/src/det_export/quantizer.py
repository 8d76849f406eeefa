"""Selection of the values that torchao quantizes: inputs and weights of chosen layers."""

from collections.abc import Sequence

import torch
from torch import fx
from torchao.quantization.pt2e.observer import HistogramObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, QuantizationSpec, Quantizer

__all__ = ["LayerQuantizer"]

_EPS = 1e-10  # least scale: the usual 2**-12 is coarse for a first layer that takes pixels up to 255
_ENTERING = QuantizationSpec(
    dtype=torch.uint8,
    quant_min=0,
    quant_max=255,
    qscheme=torch.per_tensor_affine,
    observer_or_fake_quant_ctr=HistogramObserver.with_args(eps=_EPS),
)
_WEIGHTS = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-127,
    quant_max=127,
    qscheme=torch.per_channel_symmetric,
    ch_axis=0,
    observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=_EPS),
)


class LayerQuantizer(Quantizer):  # type: ignore[misc,unused-ignore]
    """Annotates nodes by name.

    Args:
        nodes: names of convolutions and linear layers in the graph.
    """

    def __init__(self, nodes: Sequence[str]) -> None:
        super().__init__()
        self.nodes = set(nodes)

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        """Mark the inputs and the weights of the layers."""
        for node in model.graph.nodes:
            if node.name in self.nodes:
                specs = {node.args[0]: _ENTERING, node.args[1]: _WEIGHTS}
                node.meta["quantization_annotation"] = QuantizationAnnotation(input_qspec_map=specs, _annotated=True)
        return model

    def validate(self, model: fx.GraphModule) -> None:
        """Nothing to check: any mix of layers can be quantized."""
