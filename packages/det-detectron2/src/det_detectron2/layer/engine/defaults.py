"""Prediction on single images, and what training programs share, as `detectron2.engine.defaults`."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from det_detectron2.layer.config import CfgNode
from det_detectron2.layer.data import MetadataCatalog
from det_detectron2.layer.data.transforms import ResizeShortestEdge
from det_detectron2.layer.engine.trainer import DefaultTrainer
from det_detectron2.layer.engine.writers import create_ddp_model, default_writers
from det_detectron2.layer.utils import comm
from det_detectron2.layer.utils.env import seed_all_rng
from det_detectron2.layer.utils.logger import setup_logger

__all__ = [
    "DefaultPredictor",
    "DefaultTrainer",
    "create_ddp_model",
    "default_argument_parser",
    "default_setup",
    "default_writers",
]


class DefaultPredictor:
    """Predicts on one image at a time, resized as for a test.

    Args:
        cfg: configuration; uses `MODEL.WEIGHTS`, `INPUT.MIN_SIZE_TEST` and `INPUT.MAX_SIZE_TEST`.

    Attributes:
        metadata: metadata of the first data set in `DATASETS.TEST`.
        model: what `build_model` gives.
    """

    def __init__(self, cfg: Any) -> None:
        from det_detectron2.layer.checkpoint import DetectionCheckpointer
        from det_detectron2.layer.modeling import build_model

        self.cfg = cfg.clone() if hasattr(cfg, "clone") else cfg
        self.model = build_model(self.cfg)
        self.model.eval()
        if len(cfg.DATASETS.TEST):
            self.metadata = MetadataCatalog.get(cfg.DATASETS.TEST[0])
        DetectionCheckpointer(self.model).load(cfg.MODEL.WEIGHTS)
        self.aug = ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MIN_SIZE_TEST], cfg.INPUT.MAX_SIZE_TEST)
        self.input_format = cfg.INPUT.FORMAT
        assert self.input_format in ["RGB", "BGR"], self.input_format

    @torch.no_grad()
    def __call__(self, original_image: NDArray[Any]) -> dict[str, Any]:
        """Predictions in the pixels of the original image.

        Args:
            original_image: (H, W, 3), values 0 to 255, in BGR order, as OpenCV reads images.
        """
        image = original_image[:, :, ::-1] if self.input_format == "RGB" else original_image
        height, width = original_image.shape[:2]
        resized = self.aug.get_transform(image).apply_image(image)
        tensor = torch.as_tensor(np.ascontiguousarray(resized.astype("float32").transpose(2, 0, 1)))
        outputs: list[dict[str, Any]] = self.model([{"image": tensor, "height": height, "width": width}])
        return outputs[0]


def default_argument_parser(epilog: str | None = None) -> argparse.ArgumentParser:
    """Argument parser with the common arguments of training programs.

    Args:
        epilog: last section of the help text; None prints examples.
    """
    name = Path(sys.argv[0]).name
    examples = (
        f"Examples:\n  {name} --num-gpus 8 --config-file cfg.yaml\n"
        f"  {name} --config-file cfg.yaml MODEL.WEIGHTS weights.pth SOLVER.BASE_LR 0.001\n"
    )
    parser = argparse.ArgumentParser(epilog=epilog or examples, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default="", metavar="FILE", help="path to config file")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint of the output folder")
    parser.add_argument("--eval-only", action="store_true", help="perform evaluation only")
    parser.add_argument("--num-gpus", type=int, default=1, help="number of gpus *per machine*")
    parser.add_argument("--num-machines", type=int, default=1, help="total number of machines")
    parser.add_argument("--machine-rank", type=int, default=0, help="the rank of this machine (unique per machine)")
    entry = os.getuid() if hasattr(os, "getuid") else 1
    port = 2**15 + 2**14 + hash(entry) % 2**14
    parser.add_argument("--dist-url", default=f"tcp://127.0.0.1:{port}", help="where the processes meet")
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        default=None,
        help='settings as "KEY VALUE" pairs, or "key=value" of a LazyConfig',
    )
    return parser


def default_setup(cfg: Any, args: Any) -> None:
    """Make the output folder, set up logging, write the settings there, and seed.

    Args:
        cfg: a `CfgNode`, or a `LazyConfig` with the key `train`.
        args: parsed arguments of `default_argument_parser`.
    """
    from det_detectron2.layer.utils.collect_env import collect_env_info

    folder = _setting(cfg, "OUTPUT_DIR", "output_dir", "train.output_dir")
    if comm.is_main_process() and folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
    rank = comm.get_rank()
    setup_logger(folder, distributed_rank=rank, name="fvcore")
    logger = setup_logger(folder, distributed_rank=rank)
    logger.info("Rank of current process: %d. World size: %d", rank, comm.get_world_size())
    logger.info("Environment info:\n%s", collect_env_info())
    logger.info("Command line arguments: %s", args)
    if getattr(args, "config_file", ""):
        logger.info("Contents of args.config_file=%s:\n%s", args.config_file, Path(args.config_file).read_text("utf-8"))
    if comm.is_main_process() and folder:
        path = str(Path(folder) / "config.yaml")
        if isinstance(cfg, CfgNode):
            Path(path).write_text(cfg.dump(), "utf-8")
        else:
            from det_detectron2.layer.config import LazyConfig

            LazyConfig.save(cfg, path)
        logger.info("Full config saved to %s", path)
    seed = _setting(cfg, "SEED", "train.seed", default=-1)
    seed_all_rng(None if seed is None or seed < 0 else seed + rank)
    if not getattr(args, "eval_only", False):
        torch.backends.cudnn.benchmark = bool(_setting(cfg, "CUDNN_BENCHMARK", "train.cudnn_benchmark", default=False))


def _setting(cfg: Any, *names: str, default: Any = None) -> Any:
    """The first of several settings that there is."""
    for name in names:
        value: Any = cfg
        for part in name.split("."):
            value = value.get(part, None) if hasattr(value, "get") else None
        if value is not None:
            return value
    return default
