"""The plugins that the project itself publishes, by the names they bring: the only packages an error may recommend.

`det plugins doctor` also knows the packages behind modules that are called otherwise, for plugins that do not say.
"""

import importlib
import importlib.util
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from det_core.errors import MissingExtraError

__all__ = [
    "COMMANDS",
    "FUNCTIONS",
    "KNOWN",
    "PACKAGES",
    "WRITERS",
    "function",
    "hint",
    "optional",
    "provider",
    "reader",
]

# Patterns of component and recipe names in lower case. The first package that fits is the one that is recommended.
KNOWN: Mapping[str, tuple[str, ...]] = {
    "det-pointrend": ("*pointrend*", "*point_rend*", "*pointsup*", "*point_sup*", "coco_points", "boundary"),
    "det-tensormask": ("*tensormask*", "*tensor_mask*"),
    "det-densepose": ("*densepose*", "*dense_pose*", "hrnet", "hrfpn"),
    "det-vitdet": ("*vitdet*", "*mvit*", "*swin*", "vit", "vit_*", "timm", "simple_feature_pyramid"),
    "det-panoptic": ("*panoptic*", "*deeplab*", "ade20k", "cityscapes_semantic", "boundary_quality", "stuff_iou"),
    "det-tridentnet": ("*trident*",),
    "det-inspect": ("analysis",),
    "det-export": ("aoti", "onnx", "openvino", "torch_export", "torchscript"),
    "det-datasets": (
        *("concat", "*:concatdataset", "image_folder", "*:imagefolder", "cityscapes*", "*:cityscapes*", "*lvis*"),
        *("pascalvoc*", "voc", "voc_*", "*:voc*", "yolo", "*:yolo*"),
        *("fast_rcnn_r*", "coco-detection/fast_rcnn*", "*:withproposals", "*:proposalwriter"),
        *("*:copypaste", "*:mosaic", "*:repeatfactorsampler", "*:classbalancedsampler"),
        *("semantic_folder", "*:semanticfolder", "mean_iou", "*:meaniou", "semantic_r*", "misc/semantic_r*"),
    ),
    "det-mobile": (
        *("*fbnet*", "d2go*", "mobile_*", "shaped_anchors"),
        *("distilled", "executorch", "subclass_coco", "subclass_roi_heads"),
    ),
}

# Command, of one or two words, or option of a command: the package that brings it.
COMMANDS: Mapping[str, str] = {
    "analyze": "det-inspect",
    "anchors": "det-mobile",
    "data": "det-inspect",
    "data split": "det-inspect",
    "densepose": "det-densepose",
    "licenses": "det-inspect",
    "lr-find": "det-inspect",
    "export": "det-export",
    "new-plugin": "det-devkit",
    "plugins doctor": "det-devkit",
    "predict --tile": "det-inspect",
    "recipes import": "det-detectron2",
    "recipes type": "det-inspect",
    "runs": "det-inspect",
    "start": "det-inspect",
    "train DATA": "det-inspect",
    "train --dry-run": "det-inspect",
    "train --overfit": "det-inspect",
    "train --scale-lr": "det-inspect",
    "train --watch": "det-inspect",
    "zoo": "det-inspect",
    "zoo convert": "det-inspect",
    "zoo verify": "det-inspect",
}

# Writer of `det predict --save`: the package that brings it.
WRITERS: Mapping[str, str] = {
    **dict.fromkeys(("crops", "csv", "label-studio", "labelme", "voc", "yolo"), "det-inspect"),
    **dict.fromkeys(("densepose-coco", "iuv"), "det-densepose"),
    "segments": "det-datasets",
}

# Method of core, or what it reports: the function of another package that it calls.
FUNCTIONS: Mapping[str, str] = {
    "Detector.push_to_hub": "det_inspect.hub:push_to_hub",
    "faults of a recipe": "det_inspect.faults.find:refuse_faults",
    "hint of a recipe": "det_inspect.models.fitting:with_hint",
    "learning curves": "det_inspect.runs.curves:plot_curves",
    "Result.to_coco_panoptic": "det_datasets.segment_files:to_coco_panoptic",
    "Result.to_pandas": "det_inspect.predictions.conversions:to_pandas",
    "Result.to_supervision": "det_inspect.predictions.conversions:to_supervision",
}

# Module: the package that brings it, for well-known ones that are called otherwise or that plugins forget to require.
PACKAGES: Mapping[str, str] = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "einops": "einops",
    "huggingface_hub": "huggingface-hub",
    "matplotlib": "matplotlib",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "pandas": "pandas",
    "scipy": "scipy",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "timm": "timm",
    "tqdm": "tqdm",
    "transformers": "transformers",
    "yaml": "pyyaml",
}


def provider(name: str, kind: str = "") -> str:
    """The package that would bring `name`, short or qualified; "" if none is known to."""
    if kind in ("commands", "writers"):
        return (COMMANDS if kind == "commands" else WRITERS).get(name, "")
    if kind == "importers":
        return "det-detectron2" if name.startswith("detectron2") else ""
    distribution, _, rest = name.lower().partition("/")
    if distribution in KNOWN:
        return distribution
    name = rest if distribution == "det-core" else name.lower()
    return next((package for package, forms in KNOWN.items() if any(fnmatchcase(name, form) for form in forms)), "")


def reader(kind: str, name: str) -> str:
    """The package that alone reads a name of this kind, such as an extension of its importer; "" if core does."""
    if kind == "importers":
        return "det-detectron2" if name.startswith("detectron2.") else ""
    return "det-devkit" if kind == "conformance" else ""


def optional(module: str, where: str) -> Any:
    """A module of a library that det-core does not require.

    Raises:
        MissingExtraError: the library is not installed; the error starts with `where`.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = PACKAGES.get(module.partition(".")[0], module.partition(".")[0])
        problem = f"needs {package}, which is not installed"
        raise MissingExtraError(where, problem, fix=f"pip install {package}") from error


def function(method: str) -> Any:
    """The function behind a method of core; raises MissingExtraError where its package is not installed."""
    module, _, name = FUNCTIONS[method].partition(":")
    package = module.partition(".")[0].replace("_", "-")
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise MissingExtraError(method, f"needs {package}, which is not installed", fix=hint(package))
    return getattr(importlib.import_module(module), name)


def hint(package: str) -> str:
    """How to get a package of this project, for the end of an error; "" for no package.

    Its wheels lie in a folder, which README.md tells how to build: the names are not registered in a package index.
    """
    return f"{package} would provide it: pip install {package} --find-links WHEELS" if package else ""
