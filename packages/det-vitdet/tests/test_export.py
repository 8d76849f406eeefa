"""One exported program, and one compiled network, take images of any size, from two windows along each side on."""

import pytest
import small
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim, export

# Without blocks that repeat others: a trace of sizes takes long.
NETWORKS = {"pyramid": small.pyramid, "mvit": small.mvit, "swin": lambda: small.swin(depths=(2, 1, 1, 1))}
# Sides that windows of the small networks cover exactly, and others; squares, and not.
SIZES = ((128, 160), (192, 192), (224, 128), (320, 160), (256, 352))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NETWORKS)
def test_network_exported_gives_eager_output_at_other_sizes(name):
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    height, width = (Dim(side, min=4, max=20) for side in ("height", "width"))
    sizes = ({2: 32 * height, 3: 32 * width},)
    program = export(network, (torch.randn(2, 3, *SIZES[0]),), dynamic_shapes=sizes).module()
    for size in SIZES[1:]:
        pixels = torch.randn(2, 3, *size)
        for level, found in network(pixels).items():
            torch.testing.assert_close(program(pixels)[level], found)


# Which backend: tracing sizes through the gradient's part of the compiler takes minutes for the other two.
COMPILERS = {"pyramid": "aot_eager", "mvit": "eager", "swin": "eager"}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NETWORKS)
def test_network_compiled_matches_eager_without_recompiling(name):
    torch.manual_seed(0)
    torch.compiler.reset()
    network = NETWORKS[name]().eval()
    counter = CompileCounterWithBackend(COMPILERS[name])
    compiled = torch.compile(network, dynamic=True, fullgraph=True, backend=counter)
    with torch.no_grad():
        compiled(torch.randn(2, 3, *SIZES[0]))
        times = counter.frame_count
        for size in SIZES[1:]:
            pixels = torch.randn(2, 3, *size)
            for level, found in network(pixels).items():
                torch.testing.assert_close(compiled(pixels)[level], found)
    assert counter.frame_count == times
