"""The loop of a training and what hooks into it, as `detectron2.engine.train_loop`."""

import concurrent.futures
import logging
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from det_detectron2.layer.utils import comm
from det_detectron2.layer.utils.events import EventStorage, get_event_storage

__all__ = ["AMPTrainer", "HookBase", "SimpleTrainer", "TrainerBase"]


class HookBase:
    """What is called in a training: `before_train`, then in each iteration the steps, then `after_train`.

    Attributes:
        trainer: the training, with `iter`, `start_iter`, `max_iter` and `storage`.
    """

    trainer: "TrainerBase"

    def before_train(self) -> None:
        """Called before the first iteration."""

    def after_train(self) -> None:
        """Called after the last iteration, also when it failed."""

    def before_step(self) -> None:
        """Called before each iteration."""

    def after_backward(self) -> None:
        """Called when gradients are there, before the optimizer's step."""

    def after_step(self) -> None:
        """Called after each iteration."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of this hook."""
        return {}


class TrainerBase:
    """A loop that calls `run_step` and hooks.

    Attributes:
        iter: the present iteration.
        start_iter: the first of this run.
        max_iter: the number of iterations; the last is one less.
        storage: the scalars, while it trains.
    """

    def __init__(self) -> None:
        self._hooks: list[HookBase] = []
        self.iter: int = 0
        self.start_iter: int = 0
        self.max_iter: int = 0
        self.storage: EventStorage

    def register_hooks(self, hooks: Iterable[HookBase | None]) -> None:
        """Add hooks after those that are there; None is passed over."""
        for hook in hooks:
            if hook is None:
                continue
            assert isinstance(hook, HookBase)
            # The trainer holds its hooks: a proxy keeps them from holding each other.
            hook.trainer = weakref.proxy(self)
            self._hooks.append(hook)

    def train(self, start_iter: int, max_iter: int) -> None:
        """Run the iterations from `start_iter` to before `max_iter`."""
        logging.getLogger(__name__).info("Starting training from iteration %d", start_iter)
        self.iter = self.start_iter = start_iter
        self.max_iter = max_iter
        with EventStorage(start_iter) as self.storage:
            try:
                self.before_train()
                for self.iter in range(start_iter, max_iter):
                    self.before_step()
                    self.run_step()
                    self.after_step()
                # By this, hooks distinguish a finished training from a failed one.
                self.iter += 1
            except Exception:
                logging.getLogger(__name__).exception("Exception during training:")
                raise
            finally:
                self.after_train()

    def before_train(self) -> None:
        """Call the hooks."""
        for hook in self._hooks:
            hook.before_train()

    def after_train(self) -> None:
        """Call the hooks."""
        self.storage.iter = self.iter
        for hook in self._hooks:
            hook.after_train()

    def before_step(self) -> None:
        """Call the hooks."""
        self.storage.iter = self.iter
        for hook in self._hooks:
            hook.before_step()

    def after_backward(self) -> None:
        """Call the hooks."""
        for hook in self._hooks:
            hook.after_backward()

    def after_step(self) -> None:
        """Call the hooks."""
        for hook in self._hooks:
            hook.after_step()

    def run_step(self) -> None:
        """One iteration."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """The iteration, and the states of hooks by their class."""
        states = {type(hook).__qualname__: state for hook in self._hooks if (state := hook.state_dict())}
        return {"iteration": self.iter, **({"hooks": states} if states else {})}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the iteration and the states of hooks."""
        self.iter = state_dict["iteration"]
        for name, state in state_dict.get("hooks", {}).items():
            hook = next((each for each in self._hooks if type(each).__qualname__ == name), None)
            if hook is None:
                logging.getLogger(__name__).warning("Cannot find the hook '%s', its state_dict is ignored.", name)
            else:
                hook.load_state_dict(state)  # type: ignore[attr-defined]


class SimpleTrainer(TrainerBase):
    """One optimizer and one loader: each iteration takes a batch, sums the losses, and steps.

    Args:
        model: model that returns a mapping of losses, or one loss.
        data_loader: iterable of batches.
        optimizer: optimizer of the model's parameters.
        gather_metric_period: number of iterations between two gatherings of losses over processes.
        zero_grad_before_forward: whether to zero gradients before the forward pass instead of after it.
        async_write_metrics: whether to gather losses in a thread.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Any],
        optimizer: torch.optim.Optimizer,
        gather_metric_period: int = 1,
        zero_grad_before_forward: bool = False,
        async_write_metrics: bool = False,
    ) -> None:
        super().__init__()
        model.train()
        self.model, self.data_loader, self.optimizer = model, data_loader, optimizer
        self._data_loader_iter_obj: Iterator[Any] | None = None
        self.gather_metric_period = gather_metric_period
        self.zero_grad_before_forward = zero_grad_before_forward
        self.async_write_metrics = async_write_metrics
        self.concurrent_executor = concurrent.futures.ThreadPoolExecutor(max_workers=1)

    def run_step(self) -> None:
        """One iteration."""
        assert self.model.training, "[SimpleTrainer] model was changed to eval mode!"
        start = time.perf_counter()
        data = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        if self.zero_grad_before_forward:
            self.optimizer.zero_grad()
        loss_dict, losses = _losses(self.model(data))
        if not self.zero_grad_before_forward:
            self.optimizer.zero_grad()
        losses.backward()
        self.after_backward()
        self._keep(loss_dict, data_time)
        self.optimizer.step()

    def _keep(self, loss_dict: Mapping[str, Tensor], data_time: float) -> None:
        if self.async_write_metrics:
            retained = {name: value.detach().clone() for name, value in loss_dict.items()}
            self.concurrent_executor.submit(self._write_metrics, retained, data_time, iter=self.iter)
        else:
            self._write_metrics(loss_dict, data_time)

    @property
    def _data_loader_iter(self) -> Iterator[Any]:
        if self._data_loader_iter_obj is None:
            self._data_loader_iter_obj = iter(self.data_loader)
        return self._data_loader_iter_obj

    def reset_data_loader(self, data_loader_builder: Callable[[], Iterable[Any]]) -> None:
        """Take batches from another loader from now on."""
        del self.data_loader
        self.data_loader = data_loader_builder()
        self._data_loader_iter_obj = None

    def _write_metrics(
        self, loss_dict: Mapping[str, Tensor], data_time: float, prefix: str = "", iter: int | None = None
    ) -> None:
        place = self.iter if iter is None else iter
        if (place + 1) % self.gather_metric_period == 0:
            try:
                SimpleTrainer.write_metrics(loss_dict, data_time, place, prefix)
            except Exception:
                logging.getLogger(__name__).exception("Exception in writing metrics: ")
                raise

    @staticmethod
    def write_metrics(
        loss_dict: Mapping[str, Tensor],
        data_time: float,
        cur_iter: int,
        prefix: str = "",
    ) -> None:
        """Keep the means of the losses over all processes, and the longest time that one waited for its data.

        Raises:
            FloatingPointError: the sum of the losses is not finite.
        """
        current = {name: value.detach().cpu().item() for name, value in loss_dict.items()}
        gathered = comm.gather({**current, "data_time": data_time})
        if not comm.is_main_process():
            return
        storage = get_event_storage()
        longest = np.max([each.pop("data_time") for each in gathered])
        storage.put_scalar("data_time", longest, cur_iter=cur_iter)
        means = {name: float(np.mean([each[name] for each in gathered])) for name in gathered[0]}
        total = sum(means.values())
        if not np.isfinite(total):
            raise FloatingPointError(f"Loss became infinite or NaN at iteration={cur_iter}!\nloss_dict = {means}")
        storage.put_scalar(f"{prefix}total_loss", total, cur_iter=cur_iter)
        if len(means) > 1:
            for name, value in means.items():
                storage.put_scalar(name, value, cur_iter=cur_iter)

    def state_dict(self) -> dict[str, Any]:
        """As the base's, with the optimizer's state."""
        return {**super().state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As the base's, with the optimizer's state."""
        super().load_state_dict(state_dict)
        self.optimizer.load_state_dict(dict(state_dict["optimizer"]))

    def after_train(self) -> None:
        """Call the hooks, when all losses have been kept."""
        super().after_train()
        self.concurrent_executor.shutdown(wait=True)


class AMPTrainer(SimpleTrainer):
    """`SimpleTrainer` in mixed precision.

    Args:
        args: positional arguments of `SimpleTrainer`: model, data_loader, optimizer, ...
        grad_scaler: gradient scaler; None for `torch.amp.GradScaler`.
        precision: autocast dtype.
        log_grad_scaler: whether to log the loss scale as a scalar.
        kwargs: keyword arguments of `SimpleTrainer`.
    """

    def __init__(
        self,
        *args: Any,
        grad_scaler: Any = None,
        precision: torch.dtype = torch.float16,
        log_grad_scaler: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self.model, DistributedDataParallel | DataParallel):
            assert not (self.model.device_ids and len(self.model.device_ids) > 1), "one device in each process"
        self._device = next(self.model.parameters()).device.type
        # A scaler serves float16, which is for GPUs; on the CPU bfloat16 has the range that it needs.
        self.precision = precision if self._device == "cuda" else torch.bfloat16
        on = self._device == "cuda"
        self.grad_scaler = torch.amp.GradScaler(self._device, enabled=on) if grad_scaler is None else grad_scaler
        self.log_grad_scaler = log_grad_scaler

    def run_step(self) -> None:
        """One iteration."""
        assert self.model.training, "[AMPTrainer] model was changed to eval mode!"
        start = time.perf_counter()
        data = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        if self.zero_grad_before_forward:
            self.optimizer.zero_grad()
        with torch.autocast(self._device, dtype=self.precision):
            loss_dict, losses = _losses(self.model(data))
        if not self.zero_grad_before_forward:
            self.optimizer.zero_grad()
        self.grad_scaler.scale(losses).backward()
        if self.log_grad_scaler:
            get_event_storage().put_scalar("[metric]grad_scaler", self.grad_scaler.get_scale())
        self.after_backward()
        self._keep(loss_dict, data_time)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """As the base's, with the scaler's state."""
        return {**super().state_dict(), "grad_scaler": self.grad_scaler.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As the base's, with the scaler's state."""
        super().load_state_dict(state_dict)
        if state_dict.get("grad_scaler"):
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])


def _losses(results: Tensor | Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], Tensor]:
    """The losses by name and their sum."""
    if isinstance(results, Tensor):
        return {"total_loss": results}, results
    total: Sequence[Tensor] = list(results.values())
    return results, torch.stack([each.reshape(()) for each in total]).sum() if total else torch.zeros(())
