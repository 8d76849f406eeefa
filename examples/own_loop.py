"""Every part of a training alone, in a loop of one's own. Run it from a clone of the project.

python examples/own_loop.py [STEPS]
"""

import sys

import torch
from det_core import recipes
from det_core.data import EvalLoader, TrainLoader
from det_core.engine import ParamGroups, WarmupCosine, evaluate
from det_core.ops.global_batch import global_batch
from torch import nn

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
recipe = recipes.load("examples/blood-cells/recipe.yaml")
data, device = recipe.build("data"), torch.device("cpu")
model = recipe.build_model().to(device).train()

loader = TrainLoader(dataset=data.dataset("train"), batch_size=2, transforms=data.train_transforms)
optimizer = torch.optim.AdamW(ParamGroups(norm_weight_decay=0.0)(model), lr=1e-3)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, WarmupCosine(steps, warmup=10))

for step, batch in zip(range(steps), loader, strict=False):
    batch = batch.to(device)
    # The random numbers of an image follow from its place in the stream, in whichever process it is computed.
    with global_batch([(0, position) for position in batch.positions], device):
        losses = model(batch.images, batch.targets)
    optimizer.zero_grad()
    sum(losses.values()).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimizer.step()
    schedule.step()
    if step % 20 == 0:
        print(step, {name: round(value.item(), 3) for name, value in losses.items()})

val = EvalLoader(dataset=data.dataset("val"), batch_size=2, transforms=data.eval_transforms)
metrics = evaluate(model, val, data.build_evaluators("val")).metrics
print({name: round(value, 3) for name, value in metrics.items()})
