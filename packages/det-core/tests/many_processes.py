"""A program for tests, which torchrun starts in several processes: python -m torch.distributed.run ... TASK FOLDER."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import standins
import torch
from det_core.backbones import FPN, TorchvisionBackbone
from det_core.data import TrainLoader
from det_core.engine import Parallel, Train, train
from det_core.engine.batches import step_batches
from det_core.engine.distributed import ends_together, process_group, rank_and_world_size
from det_core.engine.parallel import Processes
from det_core.engine.precise_norms import estimate_norms
from det_core.engine.step import Step, prepare_model
from det_core.models import (
    RPN,
    AnchorSampler,
    DenseDetector,
    FastRCNNConvFCHead,
    FCOSHead,
    FCOSTower,
    MaskRCNNConvUpsampleHead,
    ProposalNMS,
    RegionSampler,
    RetinaNetHead,
    StandardROIHeads,
    TowerLayers,
    faster_rcnn,
)
from det_core.ops.layers import FrozenBatchNorm2d
from det_core.recipes import Factory, recipe_from_tree
from det_core.structures import Sample
from listing import list_parts
from torch import nn


class Shapes(standins.Squares):
    """The squares in images of several sizes, with masks."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        height, width = standins.SIZE[0] + 8 * (index % 3), standins.SIZE[1] + 16 * (index % 2)
        image = torch.full((3, height, width), 90, dtype=torch.uint8)
        image[:, : standins.SIZE[0], : standins.SIZE[1]] = sample.image
        masks = torch.zeros((2, height, width), dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(masks, sample.targets.boxes.int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = True
        return Sample(image=image, targets=replace(sample.targets, masks=masks), id=index, path=sample.path)


def _backbone():
    body = FrozenBatchNorm2d.replace(TorchvisionBackbone("mobilenet_v3_small", strides=[8, 16, 32]))
    return FPN(body, out_channels=16)


def _rcnn(**roi_heads):
    nms = ProposalNMS(post_nms_topk_train=40, pre_nms_topk_train=60)
    rpn = Factory(RPN, sampler=AnchorSampler(batch_size_per_image=32), nms=nms)
    heads = Factory(StandardROIHeads, sampler=RegionSampler(batch_size_per_image=16), **roi_heads)
    return faster_rcnn(_backbone(), 2, proposal_generator=rpn, roi_heads=heads)


def _dense(head, tower):
    return DenseDetector(_backbone(), Factory(head, tower=tower), 2)


def _box_head(**options):
    return Factory(FastRCNNConvFCHead, num_conv=1, conv_dim=8, num_fc=1, fc_dim=16, **options)


MODELS = {
    "faster": lambda: _rcnn(box_head=_box_head()),
    "mask": lambda: _rcnn(
        box_head=_box_head(),
        heads={"mask_head": Factory(MaskRCNNConvUpsampleHead, num_conv=1, conv_dim=8)},
    ),
    "retinanet": lambda: _dense(RetinaNetHead, TowerLayers([-1])),
    "fcos": lambda: _dense(FCOSHead, FCOSTower([-1], norm="")),
    "retinanet_syncbn": lambda: _dense(RetinaNetHead, TowerLayers([-1], "SyncBN", "shared")),
    "retinanet_bn": lambda: _dense(RetinaNetHead, TowerLayers([-1], "BN", "shared")),
    "faster_bn": lambda: _rcnn(box_head=_box_head(norm="BN")),
    "faster_bn_shuffle": lambda: _rcnn(box_head=_box_head(norm="BN", shuffle=True)),
}


def gradients(names=tuple(MODELS), steps=2, accumulate=1, batch_size=4, **options):
    """Name -> losses and gradients of the last of some steps, of all processes together; `options` are of `Train`."""
    found = {}
    for name in names:
        torch.manual_seed(0)
        settings = Train(
            steps=steps,
            batch_size=batch_size,
            accumulate=accumulate,
            seed=3,
            optimizer=Factory(torch.optim.SGD, lr=0.01),
            **options,
        )
        device = torch.device("cpu")
        processes = Processes(Parallel(), device)
        model = prepare_model(MODELS[name](), settings, device)
        step = Step(model, settings, device, processes)
        for _, batches in zip(range(steps), step_batches(_Data(), settings, processes, 0), strict=False):
            losses = step.gradients(batches)
            gradient = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
            step.update()
        found[name] = (losses, gradient, {key: b.clone() for key, b in model.named_buffers() if "running" in key})
    return found


class _Data:
    def train_loader(self, size, seed, position, rank, world_size):
        return TrainLoader(
            dataset=Shapes(12), batch_size=size, seed=seed, start=position, rank=rank, world_size=world_size
        )


def precise():
    """The running statistics of a norm, taken anew over four images."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model = standins.Tiny()
    rank, world_size = rank_and_world_size()
    size = 4 // world_size
    loader = iter(TrainLoader(dataset=standins.Squares(8), batch_size=size, seed=1, rank=rank, world_size=world_size))
    estimate_norms(model, [next(loader) for _ in range(2)])
    return dict(model.body[2].named_buffers())


def sharded(*patterns):
    """The names of the modules whose weights are gathered together."""
    torch.manual_seed(0)
    model = standins.Tiny()
    Processes(Parallel(shard=True, shard_layers=patterns), torch.device("cpu")).wrap(model)
    return [name for name, module in model.named_modules() if hasattr(module, "unshard")]


def recipe(model=None, **settings):
    """The stand-in recipe, of images in a batch of four."""
    found = standins.recipe(**{"batch_size": 4, **settings})
    if model is not None:
        found.tree["model"] = {"type": "many_processes:Dies", **model}
    return recipe_from_tree(found.tree, "the recipe of many processes")


class Dies(standins.Tiny):
    """Comes to an end at a step, in the process of a rank."""

    def __init__(self, rank: int, how: str, at: int = 3):
        super().__init__()
        self.rank, self.how, self.at = rank, how, at

    def losses(self, *arguments):
        if self.training and int(os.environ.get("RANK", 0)) == self.rank and self.calls == self.at:
            if self.how == "kill":
                os.kill(os.getpid(), 9)
            if self.how == "hang":
                time.sleep(1000)
            raise ValueError("the model is tired")
        return super().losses(*arguments)


def start(count, task, folder, *arguments, launcher=("--standalone",), **options):
    """Start this program in several processes."""
    command = [sys.executable, "-m", "torch.distributed.run", *launcher, "--nproc-per-node", str(count)]
    command += [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen(
        [*command, __file__, task, str(folder), *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def launch(count, task, folder, *arguments, check=True, **options):
    """Run this program in several processes; returns its exit status and everything that it wrote."""
    process = start(count, task, folder, *arguments, **options)
    try:
        output, _ = process.communicate(timeout=400)
    finally:
        process.kill()
    done = subprocess.CompletedProcess(process.args, process.returncode, output)
    if check:
        assert done.returncode == 0, done.stdout
    return done


def main(task, folder, *arguments):
    """One process."""
    list_parts("standins", "many_processes")
    if task == "train":
        settings = json.loads(arguments[0])
        resume = "--resume" in arguments
        train(recipe(settings.pop("model", None), **settings), folder, resume=resume)
        return
    with process_group() as (rank, _), ends_together():
        tasks = {"precise": precise, "sharded": sharded, "gradients": lambda *names: gradients(names or tuple(MODELS))}
        result = tasks[task](*arguments)
        if rank == 0:
            torch.save(result, Path(folder) / "result.pt")


if __name__ == "__main__":
    sys.modules["many_processes"] = sys.modules["__main__"]
    main(*sys.argv[1:])
