"""Data sets by name and loaders, as `detectron2.data`."""

from det_detectron2.layer.data import builtin
from det_detectron2.layer.data import transforms as transforms
from det_detectron2.layer.data.build import (
    build_batch_data_loader,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
    load_proposals_into_dataset,
    print_instances_class_histogram,
)
from det_detectron2.layer.data.catalog import DatasetCatalog, Metadata, MetadataCatalog
from det_detectron2.layer.data.common import DatasetFromList, MapDataset, ToIterableDataset
from det_detectron2.layer.data.dataset_mapper import DatasetMapper

__all__ = [
    "DatasetCatalog",
    "DatasetFromList",
    "DatasetMapper",
    "MapDataset",
    "Metadata",
    "MetadataCatalog",
    "ToIterableDataset",
    "build_batch_data_loader",
    "build_detection_test_loader",
    "build_detection_train_loader",
    "get_detection_dataset_dicts",
    "load_proposals_into_dataset",
    "print_instances_class_histogram",
]

builtin.register_all()
