"""Predict on a folder and draw: python -m det_detectron2 predict.py IN OUT CONFIG WEIGHTS"""

import sys
from pathlib import Path

from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from detectron2.data.detection_utils import read_image
from detectron2.engine import DefaultPredictor
from detectron2.utils.visualizer import ColorMode, Visualizer

source, target, config, weights = sys.argv[1:]
cfg = get_cfg()
cfg.merge_from_file(config)
cfg.MODEL.WEIGHTS = weights
cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.5
predictor = DefaultPredictor(cfg)
metadata = MetadataCatalog.get("nuclei_drawn").set(thing_classes=["nucleus"])
Path(target).mkdir(parents=True, exist_ok=True)
for file in sorted(Path(source).iterdir()):
    image = read_image(str(file), format="BGR")
    instances = predictor(image)["instances"].to("cpu")
    visualizer = Visualizer(image[:, :, ::-1], metadata, instance_mode=ColorMode.IMAGE_BW)
    visualizer.draw_instance_predictions(instances).save(str(Path(target) / f"{file.stem}.png"))
    print(f"{file.name}: {len(instances)} objects")
