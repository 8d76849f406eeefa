"""Fine-tune Mask R-CNN on a registered data set: python -m det_detectron2 finetune.py KEY VALUE ..."""

from pathlib import Path

from detectron2 import model_zoo
from detectron2.config import get_cfg
from detectron2.data.datasets import register_coco_instances
from detectron2.engine import DefaultTrainer, default_argument_parser, default_setup
from detectron2.evaluation import COCOEvaluator

NUCLEI = Path(__file__).parents[1] / "nuclei"
for split in ("train", "val"):
    register_coco_instances(f"nuclei_{split}", {}, str(NUCLEI / f"instances_{split}.json"), str(NUCLEI / "images"))


class Trainer(DefaultTrainer):
    """Evaluates boxes and masks."""

    @classmethod
    def build_evaluator(cls, cfg, dataset_name):
        """COCO's metrics."""
        return COCOEvaluator(dataset_name, output_dir=cfg.OUTPUT_DIR)


def main(args):
    """Train."""
    cfg = get_cfg()
    cfg.merge_from_file(model_zoo.get_config_file("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"))
    cfg.MODEL.WEIGHTS = model_zoo.get_checkpoint_url("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml")
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 1
    cfg.INPUT.MASK_FORMAT = "bitmask"
    cfg.DATASETS.TRAIN = ("nuclei_train",)
    cfg.DATASETS.TEST = ("nuclei_val",)
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.SOLVER.BASE_LR = 0.0025
    cfg.SOLVER.MAX_ITER = 300
    cfg.SOLVER.STEPS = (200,)
    cfg.merge_from_list(args.opts)
    default_setup(cfg, args)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


if __name__ == "__main__":
    main(default_argument_parser().parse_args())
