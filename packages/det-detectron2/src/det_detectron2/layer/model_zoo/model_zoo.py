"""The model zoo, as `detectron2.model_zoo.model_zoo`."""

from det_detectron2.layer.model_zoo import get, get_checkpoint_url, get_config, get_config_file

__all__ = ["get", "get_checkpoint_url", "get_config", "get_config_file"]
