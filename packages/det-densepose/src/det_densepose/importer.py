"""Settings of Detectron2's project DensePose as recipes; see `det_detectron2.importer.extensions`."""

from collections.abc import Mapping
from typing import Any

from det_detectron2.importer.detectron2 import Backbone
from det_detectron2.importer.detectron2_heads import levels_section, roi_heads_section
from det_detectron2.importer.settings import Settings, unsupported

from det_densepose.importer_data import BODIES, DATASETS, complete_data
from det_densepose.importer_settings import CSE, DEFAULTS, EMBEDDERS, HEAD, MESHES

__all__ = ["EXTENSION"]

# Setting -> our argument and our default.
POOLING = {
    f"{HEAD}.POOLER_RESOLUTION": ("resolution", 28),
    f"{HEAD}.POOLER_TYPE": ("pooling", "ROIAlign"),
    f"{HEAD}.POOLER_SAMPLING_RATIO": ("sampling_ratio", 2),
}
DECODER = {
    f"{HEAD}.DECODER_NUM_CLASSES": ("out_channels", 256),
    f"{HEAD}.DECODER_CONV_DIMS": ("conv_dim", 256),
    f"{HEAD}.DECODER_COMMON_STRIDE": ("stride", 4),
}
LAYERS = {
    f"{HEAD}.NUM_STACKED_CONVS": ("num_conv", 8),
    f"{HEAD}.CONV_HEAD_DIM": ("conv_dim", 512),
    f"{HEAD}.CONV_HEAD_KERNEL": ("kernel_size", 3),
}
CHARTS = {
    f"{HEAD}.NUM_PATCHES": ("num_parts", 24),
    f"{HEAD}.NUM_COARSE_SEGM_CHANNELS": ("coarse_channels", 2),
    f"{HEAD}.SEGM_CONFIDENCE.ENABLED": ("segm_confidence", False),
    f"{HEAD}.UP_SCALE": ("up_scale", 2),
    f"{HEAD}.SEGM_CONFIDENCE.EPSILON": ("epsilon", 0.01),
}
EMBEDDING = {
    f"{CSE}.EMBED_SIZE": ("embed_dim", 16),
    f"{HEAD}.NUM_COARSE_SEGM_CHANNELS": ("coarse_channels", 2),
    f"{HEAD}.UP_SCALE": ("up_scale", 2),
}
CHART_WEIGHTS = {
    f"{HEAD}.INDEX_WEIGHTS": ("coarse", 5.0),
    f"{HEAD}.PART_WEIGHTS": ("part", 1.0),
    f"{HEAD}.POINT_REGRESSION_WEIGHTS": ("coordinates", 0.01),
}
CSE_WEIGHTS = {
    f"{HEAD}.INDEX_WEIGHTS": ("coarse", 5.0),
    f"{CSE}.EMBED_LOSS_WEIGHT": ("embedding", 0.6),
}
SOFT = {
    f"{CSE}.EMBEDDING_DIST_GAUSS_SIGMA": ("sigma", 0.01),
    f"{CSE}.GEODESIC_DIST_GAUSS_SIGMA": ("geodesic_sigma", 0.01),
}
SHAPES = {
    f"{CSE}.SHAPE_TO_SHAPE_CYCLE_LOSS.WEIGHT": ("weight", 0.025),
    f"{CSE}.SHAPE_TO_SHAPE_CYCLE_LOSS.TEMPERATURE": ("temperature", 0.05),
    f"{CSE}.SHAPE_TO_SHAPE_CYCLE_LOSS.MAX_NUM_VERTICES": ("max_vertices", 4936),
    f"{CSE}.SHAPE_TO_SHAPE_CYCLE_LOSS.NORM_P": ("norm", 2),
}
PIXELS = {
    f"{CSE}.PIX_TO_SHAPE_CYCLE_LOSS.WEIGHT": ("weight", 1e-4),
    f"{CSE}.PIX_TO_SHAPE_CYCLE_LOSS.TEMPERATURE_PIXEL_TO_VERTEX": ("pixel_temperature", 0.05),
    f"{CSE}.PIX_TO_SHAPE_CYCLE_LOSS.TEMPERATURE_VERTEX_TO_PIXEL": ("vertex_temperature", 0.05),
    f"{CSE}.PIX_TO_SHAPE_CYCLE_LOSS.NUM_PIXELS_TO_SAMPLE": ("max_pixels", 100),
    f"{CSE}.PIX_TO_SHAPE_CYCLE_LOSS.USE_ALL_MESHES_NOT_GT_ONLY": ("all_meshes", False),
    f"{CSE}.PIX_TO_SHAPE_CYCLE_LOSS.NORM_P": ("norm", 2),
}
CHART_PREDICTORS = ("DensePoseChartPredictor", "DensePoseChartWithConfidencePredictor")
EMBEDDING_PREDICTORS = ("DensePoseEmbeddingPredictor", "DensePoseEmbeddingWithConfidencePredictor")
CHART_LOSSES = ("DensePoseChartLoss", "DensePoseChartWithConfidenceLoss")
# The published weight of a file -> its number of classes and its meshes.
PUBLISHED = {
    "/densepose_rcnn_R_50_FPN_soft_s1x/": (1, ("smpl_27554",)),
    "/densepose_rcnn_R_50_FPN_soft_animals_finetune_maskonly_24k/": (
        9,
        (
            *("cat_7466", "dog_7466", "sheep_5004", "horse_5004", "zebra_5002"),
            *("giraffe_5002", "elephant_5002", "cow_5002", "bear_4936"),
        ),
    ),
    "/densepose_R_50_FPN_DL_WC1M_3x_Atop10P_CA/": (1, ()),
}


def roi_heads(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """The second stage with the branch of DensePose."""
    s.require("MODEL.MASK_ON", False)
    s.require("MODEL.KEYPOINT_ON", False)
    s.require("MODEL.DENSEPOSE_ON", True)
    node: dict[str, Any] = {"type": "det-densepose/densepose_roi_heads"}
    if stage := roi_heads_section(s.replaced("MODEL.ROI_HEADS.NAME", "StandardROIHeads"), strides):
        node["stage"] = {"type": "standard_roi_heads", **stage}
    if branch := _branch(s, strides):
        node["densepose"] = branch
    return {"type": "faster_rcnn", "roi_heads": node}


def _branch(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """The arguments of the branch that are not its defaults."""
    node: dict[str, Any] = levels_section(s, strides)
    if pooling := s.differing(POOLING):
        node["pooler"] = pooling
    if not s[f"{HEAD}.DECODER_ON"]:
        node["decoder"] = None
        s.read(*DECODER, f"{HEAD}.DECODER_NORM")
    elif decoder := {**s.differing(DECODER), **_norm(s, f"{HEAD}.DECODER_NORM", "")}:
        node["decoder"] = decoder
    if head := _head(s):
        node["densepose_head"] = head
    s.require(f"{HEAD}.DECONV_KERNEL", 4)
    s.require(f"{HEAD}.HEATMAP_SIZE", 2 * s[f"{HEAD}.UP_SCALE"] * s[f"{HEAD}.POOLER_RESOLUTION"])
    if s[f"{HEAD}.PREDICTOR_NAME"] in EMBEDDING_PREDICTORS:
        node |= _embedding(s)
    else:
        node |= _charts(s)
    return {**node, **s.differing({f"{HEAD}.FG_IOU_THRESHOLD": ("min_iou", 0.7)})}


def _head(s: Settings) -> dict[str, Any]:
    """The layers before the predictor, {} where they are the default."""
    name = s.require(f"{HEAD}.NAME", "DensePoseV1ConvXHead", "DensePoseDeepLabHead")
    settings = s.differing(LAYERS)
    if name == "DensePoseDeepLabHead":
        settings |= _norm(s, f"{HEAD}.DEEPLAB.NORM", "GN")
        if s[f"{HEAD}.DEEPLAB.NONLOCAL_ON"]:
            settings["nonlocal_block"] = True
    elif not settings:
        return {}
    return {"type": f"det_densepose.models:{name}", **settings}


def _norm(s: Settings, key: str, default: str) -> dict[str, str]:
    norm = s.norm(key)
    return {} if norm == default else {"norm": norm}


def _charts(s: Settings) -> dict[str, Any]:
    """Predictor and loss of a chart model."""
    name = s.require(f"{HEAD}.PREDICTOR_NAME", *CHART_PREDICTORS, *EMBEDDING_PREDICTORS)
    s.require(f"{HEAD}.LOSS_NAME", *CHART_LOSSES)
    plain = name == "DensePoseChartPredictor"
    predictor = s.differing({k: v for k, v in CHARTS.items() if not (plain and "CONFIDENCE" in k)})
    loss: dict[str, Any] = {}
    if weights := s.differing(CHART_WEIGHTS):
        loss["weights"] = weights
    if s[f"{HEAD}.UV_CONFIDENCE.ENABLED"] and not plain:
        predictor["uv_confidence"] = s.require(f"{HEAD}.UV_CONFIDENCE.TYPE", "iid_iso", "indep_aniso")
        loss |= s.differing({f"{HEAD}.UV_CONFIDENCE.EPSILON": ("epsilon", 0.01)})
    loss |= _coarse(s)
    node: dict[str, Any] = {}
    if predictor:
        node["densepose_predictor"] = {"type": "det_densepose.models:DensePoseChartPredictor", **predictor}
    if loss:
        node["loss"] = {"type": "det_densepose.losses:DensePoseChartLoss", **loss}
    return node


def _coarse(s: Settings) -> dict[str, Any]:
    if not s[f"{HEAD}.COARSE_SEGM_TRAINED_BY_MASKS"]:
        return {}
    return {"coarse": {"type": "det_densepose.losses:CoarseLossFromMasks"}}


def _embedding(s: Settings) -> dict[str, Any]:
    """Predictor, embeddings and loss of a model of continuous surface embeddings."""
    s.require(f"{HEAD}.LOSS_NAME", "DensePoseCseLoss")
    predictor: dict[str, Any] = {"type": "det_densepose.models:DensePoseEmbeddingPredictor", **s.differing(EMBEDDING)}
    if s[f"{HEAD}.PREDICTOR_NAME"] == EMBEDDING_PREDICTORS[1]:
        predictor |= s.differing({key: value for key, value in CHARTS.items() if "CONFIDENCE" in key})
    # What only charts have may be left over from the base of the configuration.
    s.read(f"{HEAD}.PART_WEIGHTS", f"{HEAD}.POINT_REGRESSION_WEIGHTS", f"{HEAD}.NUM_PATCHES")
    node: dict[str, Any] = {"densepose_predictor": predictor, "embedder": _embedders(s)}
    classes = range(s.peek("MODEL.ROI_HEADS.NUM_CLASSES"))
    keys = [f"{MESHES}.{number}" for number in classes]
    s.read(*keys)
    if len(node["embedder"]) > 1 and all(key in s.given for key in keys):
        node["mesh_of_label"] = [s.given[key] for key in keys]
    return {**node, "loss": {"type": "det_densepose.losses:DensePoseCseLoss", **_cse_loss(s)}}


def _cse_loss(s: Settings) -> dict[str, Any]:
    node: dict[str, Any] = {}
    if weights := s.differing(CSE_WEIGHTS):
        node["weights"] = weights
    soft = s.require(f"{CSE}.EMBED_LOSS_NAME", "EmbeddingLoss", "SoftEmbeddingLoss") == "SoftEmbeddingLoss"
    options = s.differing(SOFT if soft else {f"{CSE}.EMBEDDING_DIST_GAUSS_SIGMA": ("sigma", 0.01)})
    s.read(*SOFT)
    if soft or options:
        node["embedding"] = {"type": f"det_densepose.losses:{s[f'{CSE}.EMBED_LOSS_NAME']}", **options}
    node |= _coarse(s)
    if shapes := s[f"{CSE}.SHAPE_TO_SHAPE_CYCLE_LOSS.ENABLED"]:
        node["shape_to_shape"] = s.differing(SHAPES)
    if s[f"{CSE}.PIX_TO_SHAPE_CYCLE_LOSS.ENABLED"]:
        node["pix_to_shape"] = s.differing(PIXELS)
        s.read(f"{CSE}.PIX_TO_SHAPE_CYCLE_LOSS.PIXEL_SIGMA")  # read and never used there either
    if soft or shapes:
        node["meshes"] = dict(BODIES)
    return node


def _embedders(s: Settings) -> dict[str, Any]:
    """The embedder of each mesh."""
    settings_of_mesh: dict[str, dict[str, Any]] = {}
    for key in s.given:
        if key.startswith(EMBEDDERS):
            mesh, _, name = key.removeprefix(EMBEDDERS).rpartition(".")
            settings_of_mesh.setdefault(mesh, {})[name] = s.given[key]
            s.read(key)
    return {mesh: _embedder(mesh, values) for mesh, values in settings_of_mesh.items()}


def _embedder(mesh: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    kind = settings.get("TYPE", "")
    node: dict[str, Any] = {"num_vertices": settings.get("NUM_VERTICES", 0)}
    if not settings.get("IS_TRAINABLE", True):
        node["trainable"] = False
    if kind == "vertex_direct":
        return {"type": "det_densepose.models:VertexDirectEmbedder", **node}
    if kind != "vertex_feature":
        raise unsupported(f"{EMBEDDERS}{mesh}.TYPE", kind, ("vertex_direct", "vertex_feature"))
    if (features := settings.get("FEATURE_DIM", 256)) != 256:
        node["feature_dim"] = features
    if settings.get("FEATURES_TRAINABLE", False):
        node["features_trainable"] = True
    if settings.get("INIT_FILE"):
        node["meshes"] = dict(BODIES)
    return {"type": "det_densepose.models:VertexFeatureEmbedder", **node}


def backbone(s: Settings) -> Backbone:
    """HRNet with HRFPN."""
    stages = (2, 3, 4)
    channels = [list(s[f"MODEL.HRNET.STAGE{stage}.NUM_CHANNELS"]) for stage in stages]
    for stage, stage_channels in zip(stages, channels, strict=True):
        prefix = f"MODEL.HRNET.STAGE{stage}"
        s.require(f"{prefix}.NUM_CHANNELS", channels[-1][: len(stage_channels)])
        s.require(f"{prefix}.NUM_BRANCHES", stage)
        s.require(f"{prefix}.NUM_BLOCKS", [4] * stage)
        s.require(f"{prefix}.BLOCK", "BASIC")
        s.require(f"{prefix}.FUSE_METHOD", "SUM")
    network: dict[str, Any] = {"type": "det-densepose/hrnet"}
    if channels[-1] != [32, 64, 128, 256]:
        network["channels"] = channels[-1]
    if (modules := [s[f"MODEL.HRNET.STAGE{stage}.NUM_MODULES"] for stage in stages]) != [1, 4, 3]:
        network["modules"] = modules
    network |= s.differing({"MODEL.HRNET.STEM_INPLANES": ("stem_channels", 64)})
    # The base of the configurations describes a ResNet and its pyramid.
    s.read(*(key for key in s.defaults if key.startswith(("MODEL.FPN.", "MODEL.RESNETS."))))
    pyramid = s.differing({"MODEL.HRNET.HRFPN.OUT_CHANNELS": ("out_channels", 256)})
    node = {"type": "det-densepose/hrfpn", **pyramid, "bottom_up": network}
    return Backbone(node, {f"p{level}": 2 ** (level + 1) for level in range(1, 6)}, whole=True)


PARTS = {
    ("MODEL.ROI_HEADS.NAME", "DensePoseROIHeads"): roi_heads,
    ("MODEL.BACKBONE.NAME", "build_hrfpn_backbone"): backbone,
}


def complete(s: Settings, tree: dict[str, Any]) -> None:
    """What a model starts from, and its data."""
    if s.peek("MODEL.ROI_HEADS.NAME") != "DensePoseROIHeads":
        s.read(*(key for key in s.given if key in DEFAULTS))
        return
    weights = tree.get("weights")
    if weights and (weight_settings := _weights(s, weights["source"], tree["model"])) is not None:
        weights.pop("match", None)
        weights |= weight_settings
    if s.peek("MODEL.BACKBONE.NAME") != "build_hrfpn_backbone":
        s.read(*(key for key in s.given if key.startswith("MODEL.HRNET.")))
    factors = {"features": s[f"{CSE}.FEATURES_LR_FACTOR"], "embeddings": s[f"{CSE}.EMBEDDING_LR_FACTOR"]}
    if others := {name: factor for name, factor in factors.items() if factor != 1.0}:
        tree["train"].setdefault("param_groups", {})["lr_factor_of"] = others
    complete_data(s, tree)


def _weights(s: Settings, source: str, model: Mapping[str, Any]) -> dict[str, Any] | None:
    """What of a published file is used, all of which must fit; None for a file that is not known."""
    if s.peek("MODEL.BACKBONE.NAME") == "build_hrfpn_backbone" and source.startswith("https://1drv.ms/"):
        return {"into": "backbone.bottom_up"}
    for folder, (classes, meshes) in PUBLISHED.items():
        if folder in source:
            skip = [] if model["num_classes"] == classes else ["roi_heads.box_predictor"]
            recipe_meshes = list(model["roi_heads"]["densepose"].get("embedder", ()))
            if set(meshes) - set(recipe_meshes):
                skip.append("roi_heads.embedder")
            else:
                skip += [f"roi_heads.embedder.embedder_{mesh}" for mesh in recipe_meshes if mesh not in meshes]
            return {"skip": skip} if skip else {}
    return None


EXTENSION = {"defaults": DEFAULTS, "datasets": DATASETS, "parts": PARTS, "complete": complete}
