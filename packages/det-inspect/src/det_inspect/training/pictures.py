"""To watch a training: predictions on the same images over time, and a profile of a few steps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from det_core.data import EvalLoader
from det_core.engine.evaluate import fixed_seed, in_eval_mode, predict
from det_core.errors import CheckpointError, ConfigError
from det_core.visual import draw
from torch.profiler import ProfilerActivity, profile

from det_inspect.panels import contact_sheet, side_by_side

if TYPE_CHECKING:
    from det_core.data import Batch
    from det_core.engine import Trainer

__all__ = ["Profile", "SamplePredictions"]


class SamplePredictions:
    """Draws ground truth and predictions on the first images of `data.val` after each evaluation.

    The pictures are `predictions/STEP.jpg` in the folder of the run.

    Args:
        images: number of validation images to draw.
        score_threshold: detections must score more than this.
    """

    def __init__(self, images: int = 4, score_threshold: float = 0.3) -> None:
        if images < 1:
            raise ConfigError("SamplePredictions.images", "must be at least 1", f"got {images}")
        self.images, self.score_threshold = images, score_threshold

    def after_evaluation(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        """Draw, in rank 0."""
        if trainer.processes.rank or trainer.settings.sharded:
            return
        data = trainer.data
        loader = EvalLoader(dataset=data.dataset("val"), batch_size=1, transforms=data.eval_transforms)
        classes, panels = data.dataset("val").classes, []
        with in_eval_mode(trainer.model), torch.no_grad(), fixed_seed(trainer.device):
            for _, batch in zip(range(self.images), loader, strict=False):
                sample = batch.samples[0]
                images = batch.images.to(trainer.device)
                [prediction] = predict(trainer.model, images, [sample.size], trainer.settings.precision)
                if prediction.detections is None:
                    continue
                detections = prediction.detections.to("cpu")
                detections = detections[detections.scores > self.score_threshold]
                if sample.targets is None:
                    panels.append(draw(sample.image, detections, classes))
                else:
                    panels.append(side_by_side(sample.image, sample.targets, detections, classes))
        folder = trainer.folder.path / "predictions"
        try:
            folder.mkdir(exist_ok=True)
            contact_sheet(panels, columns=1).save(folder / f"{trainer.step:07}.jpg", quality=85)
        except OSError as error:
            raise CheckpointError(str(folder), "cannot be written", str(error)) from error


class Profile:
    """Records which operations take the time of a few steps: `trace.json`, for chrome://tracing or Perfetto.

    Args:
        start: the first step recorded; after the first few, which warm everything up.
        steps: number of training steps to profile.
    """

    def __init__(self, start: int = 10, steps: int = 5) -> None:
        if start < 0 or steps < 1:
            raise ConfigError("Profile", "needs a step to start at and a number of steps", f"got {start}, {steps}")
        self.start, self.steps = start, steps
        self._profile: Any = None

    def before_step(self, trainer: "Trainer", batches: Sequence["Batch"]) -> None:
        """Start at the step."""
        if trainer.processes.rank == 0 and trainer.step == self.start:
            activities = [ProfilerActivity.CPU]
            if trainer.device.type == "cuda":
                activities.append(ProfilerActivity.CUDA)
            self._profile = profile(activities=activities)
            self._profile.start()

    def after_step(self, trainer: "Trainer", scalars: Mapping[str, float]) -> None:
        """Stop and write."""
        if self._profile is not None and trainer.step >= self.start + self.steps:
            self.on_end(trainer)

    def on_end(self, trainer: "Trainer") -> None:
        """Write the recorded trace."""
        if self._profile is not None:
            self._profile.stop()
            self._profile.export_chrome_trace(str(trainer.folder.path / "trace.json"))
            trainer.display.write(f"profile: {trainer.folder.path / 'trace.json'}")
            self._profile = None
