"""The components are held to what det asks of plugins."""

import small_benchmarks
from det_devkit.conformance import conformance

test_datasets = conformance(
    "det-datasets",
    examples={
        "datasets/cityscapes": small_benchmarks.cityscapes,
        "datasets/lvis": small_benchmarks.lvis,
        "datasets/semantic_folder": small_benchmarks.semantic_folder,
        "datasets/voc": small_benchmarks.voc,
        "datasets/yolo": small_benchmarks.yolo,
    },
)
