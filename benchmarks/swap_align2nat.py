"""What `swap_align2nat` of det-tensormask costs beside a gather of the sixteen numbers that each result lies between.

Masks of 15 x 15 parts, aligned with a finest level of 64 x 84 pixels (an image of 256 x 336), to windows of that level
and of coarser ones. Both are checked against each other first, forwards and backwards.
Run it: python benchmarks/swap_align2nat.py
"""

import ctypes
import itertools
import json
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from det_tensormask.align import OUTSIDE, swap_align2nat
from torch import Tensor

RESULTS = Path(__file__).parent / "results" / "swap_align2nat.json"
SIDE, SIZE = 15, (64, 84)
FACTORS = (1, 2, 8)


def gather(masks: Tensor, factor: int) -> Tensor:
    """Each result as the sum of sixteen numbers, two along each axis, by advanced indexing."""
    batch, height, width = len(masks), *masks.shape[2:]
    parts, rows, columns = SIDE * factor, -(-height // factor), -(-width // factor)
    shape = (SIDE, SIDE, height, width)
    v, y = torch.arange(parts)[:, None, None, None], torch.arange(rows)[:, None]
    u, x = torch.arange(parts)[:, None, None], torch.arange(columns)
    at = (
        (v + 0.5) / factor - 0.5,
        (u + 0.5) / factor - 0.5,
        y * factor + v - parts / 2 + 0.5,
        x * factor + u - parts / 2 + 0.5,
    )
    given = masks.reshape(batch, *shape)
    total = masks.new_zeros(batch, parts, parts, rows, columns)
    for steps in itertools.product((0, 1), repeat=4):
        index = [a.floor().long() + step for a, step in zip(at, steps, strict=True)]
        share = torch.ones(())
        inside = torch.ones((), dtype=torch.bool)
        for a, step, i, length in zip(at, steps, index, shape, strict=True):
            share = share * (a % 1 if step else 1 - a % 1)
            inside = inside & (i >= 0) & (i < length)
        kept = [i.clamp(0, length - 1) for i, length in zip(index, shape, strict=True)]
        value = given[(slice(None), *torch.broadcast_tensors(*kept))]
        total = total + share * torch.where(inside, value, OUTSIDE)
    return total.flatten(1, 2)


def measured(operation: Callable[..., Tensor], masks: Tensor, factor: int) -> tuple[float, float]:
    """Seconds of a call, and how many MB it held at most beyond what was held before; Linux alone tells the latter.

    The seconds are the processor's, for one thread those of a quiet machine.
    """
    ctypes.CDLL(None).malloc_trim(0)  # what earlier calls have let go does not count as held
    Path("/proc/self/clear_refs").write_text("5")
    before, start = _held("VmRSS"), time.process_time()
    operation(masks, factor)
    return time.process_time() - start, _held("VmHWM") - before


def quickest(operation: Callable[..., Tensor], masks: Tensor, factor: int) -> tuple[float, float]:
    """The quickest of three calls, as `measured` tells it."""
    return min(measured(operation, masks, factor) for _ in range(3))


def _held(line: str) -> float:
    return int(Path("/proc/self/status").read_text().split(f"{line}:")[1].split()[0]) / 1024


def trained(operation: Callable[[Tensor, int], Tensor], masks: Tensor, factor: int) -> Tensor:
    """The gradient of the sum of squares."""
    masks = masks.detach().requires_grad_()
    operation(masks, factor).square().sum().backward()
    assert masks.grad is not None
    return masks.grad


def main() -> int:
    """Print and write the table; 1 if the two operations differ."""
    masks = torch.randn(1, SIDE**2, *SIZE, generator=torch.Generator().manual_seed(0))
    rows = []
    print(f"{masks.numel() * 4 / 2**20:.0f} MB of masks\n\n| factor | | time | memory | and backwards | memory |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for factor in FACTORS:
        ours, theirs = (trained(operation, masks, factor) for operation in (swap_align2nat, gather))
        torch.testing.assert_close(swap_align2nat(masks, factor), gather(masks, factor))
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
        for operation in (gather, swap_align2nat):
            seconds, memory = quickest(operation, masks, factor)
            both, held = quickest(partial(trained, operation), masks, factor)
            rows.append(
                {
                    "factor": factor,
                    "operation": operation.__name__,
                    "forward_seconds": round(seconds, 4),
                    "forward_mb": round(memory),
                    "both_seconds": round(both, 4),
                    "both_mb": round(held),
                }
            )
            print(
                f"| {factor} | {operation.__name__} | {seconds * 1e3:.0f} ms | {memory:.0f} MB "
                f"| {both * 1e3:.0f} ms | {held:.0f} MB |"
            )
    results = {"torch": torch.__version__, "machine": platform.machine(), "rows": rows}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
