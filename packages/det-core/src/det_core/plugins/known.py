"""The plugins that the project itself publishes, by the names they bring: the only packages an error may recommend.

`det plugins doctor` also knows the packages behind modules that are called otherwise, for plugins that do not say.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase

__all__ = ["COMMANDS", "KNOWN", "PACKAGES", "hint", "provider", "reader"]

# Patterns of component and recipe names in lower case. The first package that fits is the one that is recommended.
KNOWN: Mapping[str, tuple[str, ...]] = {
    "det-pointrend": ("*pointrend*", "*point_rend*", "*pointsup*", "*point_sup*"),
    "det-tensormask": ("*tensormask*", "*tensor_mask*"),
    "det-densepose": ("*densepose*", "*dense_pose*"),
    "det-vitdet": ("*vitdet*", "*mvit*", "*swin*", "vit", "vit_*"),
    "det-panoptic": ("*panoptic*", "*deeplab*"),
    "det-tridentnet": ("*trident*",),
    "det-inspect": ("analysis",),
    "det-export": ("onnx", "torch_export"),
    "det-datasets": (
        *("cityscapes*", "*:cityscapes*", "*lvis*", "pascalvoc*", "voc", "voc_*", "*:voc*", "yolo", "*:yolo*"),
        *(
            "fast_rcnn_r*",
            "coco-detection/fast_rcnn*",
            "*:copypaste",
            "*:mosaic",
            "*:withproposals",
            "*:proposalwriter",
        ),
        *("*:repeatfactorsampler", "*:classbalancedsampler"),
        *("semantic_folder", "*:semanticfolder", "mean_iou", "*:meaniou", "semantic_r*", "misc/semantic_r*"),
    ),
    "det-mobile": ("*fbnet*", "d2go*", "mobile_*"),
}

# Command, of one or two words, or option of a command: the package that brings it.
COMMANDS: Mapping[str, str] = {
    "anchors": "det-mobile",
    "data": "det-inspect",
    "lr-find": "det-inspect",
    "export": "det-export",
    "new-plugin": "det-devkit",
    "plugins doctor": "det-devkit",
    "recipes import": "det-detectron2",
    "recipes type": "det-inspect",
    "runs": "det-inspect",
    "train --dry-run": "det-inspect",
    "train --overfit": "det-inspect",
    "zoo": "det-inspect",
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
    if kind == "commands":
        return COMMANDS.get(name, "")
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


def hint(package: str) -> str:
    """How to get a package of this project, for the end of an error; "" for no package.

    Its wheels lie in a folder, which README.md tells how to build: the names are not registered in a package index.
    """
    return f"{package} would provide it: pip install {package} --find-links WHEELS" if package else ""
