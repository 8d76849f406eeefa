"""The batches of each step of a training, of one process among several."""

from collections.abc import Iterator
from itertools import islice

from det_core.data import Batch, Data
from det_core.engine.parallel import Processes
from det_core.engine.settings import Train
from det_core.errors import DataError

__all__ = ["step_batches"]


def step_batches(data: Data, settings: Train, processes: Processes, position: int) -> Iterator[list[Batch]]:
    """The batches of this process for each step: `settings.accumulate`, padded as those of the others.

    Args:
        data: data of the recipe, with the split `train`.
        settings: section `train` of the recipe.
        processes: group of processes that share the images of a step.
        position: samples that were drawn before.

    Raises:
        DataError: an image of this process or of another one cannot be used; all of them raise it in the same step.
    """
    size = settings.local_batch_size(processes.world_size)
    loader = iter(data.train_loader(size, settings.seed, position, processes.rank, processes.world_size))
    while True:
        step: list[Batch] = []
        error: DataError | None = None
        try:
            step += islice(loader, settings.accumulate)
        except DataError as raised:
            error = raised
        if processes.world_size > 1:
            sizes = [side for batch in step for side in batch.images.pixels.shape[-2:]]
            sizes += [0] * (2 * settings.accumulate - len(sizes))
            failed, *sizes = processes.maximum(int(error is not None), *sizes)
            if failed and error is None:
                error = DataError("data.train", "cannot be read by another process", fix="see its own error")
            if processes.settings.pad_together:
                step = [batch.padded((sizes[2 * i], sizes[2 * i + 1])) for i, batch in enumerate(step)]
        if error is not None:
            raise error
        yield step
