"""What det-densepose adds to det, as names; nothing here is imported before it is used."""

from det_core.plugins.hooks import hookimpl, recipe_files

# Folder of the published configuration -> name of the recipe -> name of the configuration. Two folders have the same
# names; those of continuous surface embeddings begin with densepose_cse here.
PUBLISHED = {
    "DensePose": {
        "densepose_rcnn_r101_fpn_dl_s1x": "densepose_rcnn_R_101_FPN_DL_s1x",
        "densepose_rcnn_r101_fpn_dl_wc1_s1x": "densepose_rcnn_R_101_FPN_DL_WC1_s1x",
        "densepose_rcnn_r101_fpn_dl_wc1m_s1x": "densepose_rcnn_R_101_FPN_DL_WC1M_s1x",
        "densepose_rcnn_r101_fpn_dl_wc2_s1x": "densepose_rcnn_R_101_FPN_DL_WC2_s1x",
        "densepose_rcnn_r101_fpn_dl_wc2m_s1x": "densepose_rcnn_R_101_FPN_DL_WC2M_s1x",
        "densepose_rcnn_r101_fpn_s1x": "densepose_rcnn_R_101_FPN_s1x",
        "densepose_rcnn_r101_fpn_s1x_legacy": "densepose_rcnn_R_101_FPN_s1x_legacy",
        "densepose_rcnn_r101_fpn_wc1_s1x": "densepose_rcnn_R_101_FPN_WC1_s1x",
        "densepose_rcnn_r101_fpn_wc1m_s1x": "densepose_rcnn_R_101_FPN_WC1M_s1x",
        "densepose_rcnn_r101_fpn_wc2_s1x": "densepose_rcnn_R_101_FPN_WC2_s1x",
        "densepose_rcnn_r101_fpn_wc2m_s1x": "densepose_rcnn_R_101_FPN_WC2M_s1x",
        "densepose_rcnn_r50_fpn_dl_s1x": "densepose_rcnn_R_50_FPN_DL_s1x",
        "densepose_rcnn_r50_fpn_dl_wc1_s1x": "densepose_rcnn_R_50_FPN_DL_WC1_s1x",
        "densepose_rcnn_r50_fpn_dl_wc1m_s1x": "densepose_rcnn_R_50_FPN_DL_WC1M_s1x",
        "densepose_rcnn_r50_fpn_dl_wc2_s1x": "densepose_rcnn_R_50_FPN_DL_WC2_s1x",
        "densepose_rcnn_r50_fpn_dl_wc2m_s1x": "densepose_rcnn_R_50_FPN_DL_WC2M_s1x",
        "densepose_rcnn_r50_fpn_s1x": "densepose_rcnn_R_50_FPN_s1x",
        "densepose_rcnn_r50_fpn_s1x_legacy": "densepose_rcnn_R_50_FPN_s1x_legacy",
        "densepose_rcnn_r50_fpn_wc1_s1x": "densepose_rcnn_R_50_FPN_WC1_s1x",
        "densepose_rcnn_r50_fpn_wc1m_s1x": "densepose_rcnn_R_50_FPN_WC1M_s1x",
        "densepose_rcnn_r50_fpn_wc2_s1x": "densepose_rcnn_R_50_FPN_WC2_s1x",
        "densepose_rcnn_r50_fpn_wc2m_s1x": "densepose_rcnn_R_50_FPN_WC2M_s1x",
    },
    "DensePose/HRNet": {
        "densepose_rcnn_hrfpn_hrnet_w32_s1x": "densepose_rcnn_HRFPN_HRNet_w32_s1x",
        "densepose_rcnn_hrfpn_hrnet_w40_s1x": "densepose_rcnn_HRFPN_HRNet_w40_s1x",
        "densepose_rcnn_hrfpn_hrnet_w48_s1x": "densepose_rcnn_HRFPN_HRNet_w48_s1x",
    },
    "DensePose/cse": {
        "densepose_cse_r101_fpn_dl_s1x": "densepose_rcnn_R_101_FPN_DL_s1x",
        "densepose_cse_r101_fpn_dl_soft_s1x": "densepose_rcnn_R_101_FPN_DL_soft_s1x",
        "densepose_cse_r101_fpn_s1x": "densepose_rcnn_R_101_FPN_s1x",
        "densepose_cse_r101_fpn_soft_s1x": "densepose_rcnn_R_101_FPN_soft_s1x",
        "densepose_cse_r50_fpn_dl_s1x": "densepose_rcnn_R_50_FPN_DL_s1x",
        "densepose_cse_r50_fpn_dl_soft_s1x": "densepose_rcnn_R_50_FPN_DL_soft_s1x",
        "densepose_cse_r50_fpn_s1x": "densepose_rcnn_R_50_FPN_s1x",
        "densepose_cse_r50_fpn_soft_animals_ca_finetune_16k": "densepose_rcnn_R_50_FPN_soft_animals_CA_finetune_16k",
        "densepose_cse_r50_fpn_soft_animals_ca_finetune_4k": "densepose_rcnn_R_50_FPN_soft_animals_CA_finetune_4k",
        "densepose_cse_r50_fpn_soft_animals_finetune_16k": "densepose_rcnn_R_50_FPN_soft_animals_finetune_16k",
        "densepose_cse_r50_fpn_soft_animals_finetune_4k": "densepose_rcnn_R_50_FPN_soft_animals_finetune_4k",
        "densepose_cse_r50_fpn_soft_animals_finetune_maskonly_24k": (
            "densepose_rcnn_R_50_FPN_soft_animals_finetune_maskonly_24k"
        ),
        "densepose_cse_r50_fpn_soft_animals_i0_finetune_16k": "densepose_rcnn_R_50_FPN_soft_animals_I0_finetune_16k",
        "densepose_cse_r50_fpn_soft_animals_i0_finetune_i2m_16k": (
            "densepose_rcnn_R_50_FPN_soft_animals_I0_finetune_i2m_16k"
        ),
        "densepose_cse_r50_fpn_soft_animals_i0_finetune_m2m_16k": (
            "densepose_rcnn_R_50_FPN_soft_animals_I0_finetune_m2m_16k"
        ),
        "densepose_cse_r50_fpn_soft_chimps_finetune_4k": "densepose_rcnn_R_50_FPN_soft_chimps_finetune_4k",
        "densepose_cse_r50_fpn_soft_s1x": "densepose_rcnn_R_50_FPN_soft_s1x",
    },
    "DensePose/evolution": {
        "densepose_r50_fpn_dl_wc1m_3x_atop10p_ca": "densepose_R_50_FPN_DL_WC1M_3x_Atop10P_CA",
        "densepose_r50_fpn_dl_wc1m_3x_atop10p_ca_b_coarsesegm": "densepose_R_50_FPN_DL_WC1M_3x_Atop10P_CA_B_coarsesegm",
        "densepose_r50_fpn_dl_wc1m_3x_atop10p_ca_b_finesegm": "densepose_R_50_FPN_DL_WC1M_3x_Atop10P_CA_B_finesegm",
        "densepose_r50_fpn_dl_wc1m_3x_atop10p_ca_b_uniform": "densepose_R_50_FPN_DL_WC1M_3x_Atop10P_CA_B_uniform",
        "densepose_r50_fpn_dl_wc1m_3x_atop10p_ca_b_uv": "densepose_R_50_FPN_DL_WC1M_3x_Atop10P_CA_B_uv",
    },
}

SAFE_PARTS = (
    "det_densepose.bodies.published:BodyFolder",
    "det_densepose.losses:ChartWeights",
    "det_densepose.losses:CoarseLossFromMasks",
    "det_densepose.losses:CoarseLossFromParts",
    "det_densepose.losses:CseWeights",
    "det_densepose.losses:DensePoseChartLoss",
    "det_densepose.losses:DensePoseCseLoss",
    "det_densepose.losses:EmbeddingLoss",
    "det_densepose.losses:PixToShapeCycleLoss",
    "det_densepose.losses:ShapeToShapeCycleLoss",
    "det_densepose.losses:SoftEmbeddingLoss",
    "det_densepose.models:Decoder",
    "det_densepose.models:DensePoseChartPredictor",
    "det_densepose.models:DensePoseDeepLabHead",
    "det_densepose.models:DensePoseEmbeddingPredictor",
    "det_densepose.models:DensePoseV1ConvXHead",
    "det_densepose.models:VertexDirectEmbedder",
    "det_densepose.models:VertexFeatureEmbedder",
    "det_densepose.results.exporting:AttachMeshes",
)
"""What an untrusted recipe may build of this package, beside what is offered through hooks."""


@hookimpl
def det_backbones() -> dict[str, str]:
    """HRNet, and the pyramid over it."""
    return {
        "hrfpn": "det_densepose.backbones:HRFPN",
        "hrnet": "det_densepose.backbones:HRNet",
    }


@hookimpl
def det_heads() -> dict[str, str]:
    """The branch of DensePose, and the second stage that holds it."""
    return {
        "densepose_head": "det_densepose.models:DensePoseHead",
        "densepose_roi_heads": "det_densepose.models:densepose_roi_heads",
    }


@hookimpl
def det_datasets() -> dict[str, str]:
    """Annotated points on the surface of bodies."""
    return {"densepose": "det_densepose.data:DensePoseDataset"}


@hookimpl
def det_evaluators() -> dict[str, str]:
    """Geodesic point similarity."""
    return {"densepose": "det_densepose.evaluation:DensePoseEvaluator"}


@hookimpl
def det_recipes() -> dict[str, str]:
    """The published configurations, whose paths are aliases."""
    return recipe_files("det_densepose:recipes", PUBLISHED)


@hookimpl
def det_importers() -> dict[str, str]:
    """The settings of Detectron2's project."""
    return {"detectron2.densepose": "det_densepose.importer:EXTENSION"}


@hookimpl
def det_commands() -> dict[str, str]:
    """Drawings, textures, meshes, pseudo-labels and rendered pictures."""
    return {"densepose": "det_densepose.cli:densepose"}


@hookimpl
def det_writers() -> dict[str, str]:
    """Files of parts and places."""
    return {"densepose-coco": "det_densepose.writers:CocoWriter", "iuv": "det_densepose.writers:IuvWriter"}


@hookimpl
def det_conformance() -> dict[str, str]:
    """How the conformance kit makes the components of this package."""
    return {"densepose": "det_densepose.testing:components"}
