"""int8 networks for XNNPACK, through torchao: weights per channel, activations per tensor, all else in float."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from det_core.errors import DataError
from torch import Tensor, fx, nn

__all__ = ["quantized"]


def quantized(
    networks: dict[str, nn.Module],
    examples: dict[str, tuple[Tensor, ...]],
    pictures: Iterable[Any],
    observe: Callable[[dict[str, nn.Module], Any], None],
) -> dict[str, nn.Module]:
    """The networks in int8, calibrated by running the whole detector with observers in their place.

    Args:
        networks: by method.
        examples: inputs of each.
        pictures: what `observe` takes, one after another; at least one.
        observe: runs the detector on one picture, on networks in place of its own.

    Raises:
        DataError: there are no pictures.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    prepared: dict[str, nn.Module] = {}
    for name, network in networks.items():
        quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        with torch.no_grad():
            graph: fx.GraphModule = torch.export.export(network.eval(), examples[name], strict=True).module()
            prepared[name] = prepare_pt2e(graph, quantizer)
    count = 0
    with torch.no_grad():
        for picture in pictures:
            observe(prepared, picture)
            count += 1
    if not count:
        raise DataError("int8", "there are no pictures to calibrate on", fix="name a folder: --calibrate FOLDER")
    return {name: convert_pt2e(each) for name, each in prepared.items()}
