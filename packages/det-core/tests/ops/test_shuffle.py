"""Rows exchanged between processes."""

import subprocess
import sys

import torch
from det_core.models import FastRCNNConvFCHead, MaskRCNNConvUpsampleHead
from det_core.ops.shuffle import shuffled

# Two processes with three and two rows, whose results depend on the other rows of their share; against the same by hand
# in one process, values and gradients.
TWO_PROCESSES = """
import sys
import torch
from torch import distributed as dist
from det_core.ops.shuffle import shuffled

rank, file = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
rows = [torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[10.0], [20.0]])]

def centred(x):
    return (x - x.mean(dim=0)) * x

torch.manual_seed(rank + 5)
own = rows[rank].clone().requires_grad_()
found = shuffled(centred, own)
((rank + 1) * found).sum().backward()

torch.manual_seed(5)  # the first process draws the order
order = torch.randperm(5)
everything = torch.cat(rows).requires_grad_()
expected = torch.empty(5, 1)
for share in (order[:3], order[3:]):
    expected = expected.index_put((share,), centred(everything[share]))
(expected * torch.tensor([[1.0]] * 3 + [[2.0]] * 2)).sum().backward()
mine = slice(0, 3) if rank == 0 else slice(3, 5)
torch.testing.assert_close(found, expected[mine])
torch.testing.assert_close(own.grad, everything.grad[mine])
assert not torch.equal(expected[:3], centred(rows[0])), "the order that was drawn mixes nothing"

nothing = shuffled(centred, torch.zeros(0, 1) if rank else torch.ones(1, 1))
assert nothing.shape == (1 - rank, 1)
dist.destroy_process_group()
"""


def test_shuffle_returns_own_rows_with_gradients_of_all_processes(tmp_path):
    command = [sys.executable, "-c", TWO_PROCESSES]
    running = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "meeting")], stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    errors = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors


def test_shuffle_in_one_process_is_identity():
    x = torch.randn(5, 2)
    assert torch.equal(shuffled(lambda rows: rows - rows.mean(dim=0), x), x - x.mean(dim=0))
    assert shuffled(torch.relu, x[:0]).shape == (0, 2)


def test_shuffling_heads_have_same_weights_and_outputs_alone():
    for head in (
        lambda **options: FastRCNNConvFCHead(4, 3, num_conv=1, conv_dim=4, fc_dim=6, norm="BN", **options),
        lambda **options: MaskRCNNConvUpsampleHead({"p": 4}, {"p": 8}, 2, num_conv=1, conv_dim=4, norm="BN", **options),
    ):
        plain, shuffling = head(), head(shuffle=True)
        shuffling.load_state_dict(plain.state_dict())
        pooled = torch.randn(6, 4, 3, 3)
        assert torch.equal(plain(pooled), shuffling(pooled))
        assert torch.equal(plain.eval()(pooled), shuffling.eval()(pooled))
