"""One exported program takes images of any size, from two windows along each side on."""

import pytest
import small
import torch
from torch.export import Dim, export


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["pyramid", "mvit", "swin"])
def test_an_exported_network_says_the_same_at_other_sizes(name):
    torch.manual_seed(0)
    network = small.ALL[name]().eval()
    height, width = (Dim(side, min=3, max=20) for side in ("height", "width"))
    sizes = ({2: 32 * height, 3: 32 * width},)
    program = export(network, (torch.randn(2, 3, 128, 160),), dynamic_shapes=sizes).module()
    for size in ((96, 224), (320, 160)):
        pixels = torch.randn(2, 3, *size)
        for level, found in network(pixels).items():
            torch.testing.assert_close(program(pixels)[level], found)
