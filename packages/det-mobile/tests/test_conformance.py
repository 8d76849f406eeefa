"""det's own checks of a plugin, a test each; `pytest -m "not slow"` leaves out what takes long."""

from det_devkit.conformance import conformance

TABLE = {
    "trunk": "conv_k3 8 s2 | ir_k3 8 s2 e2 | ir_k3_se 8 s2 e2 | ir_k3 16 s2 e2",
    "rpn": "ir_k3 16 e2",
    "bbox": "ir_k3 16 s2 e2",
    "mask": "ir_k3 16 e2; ir_k3 8 s-2 e2",
    "kpts": "ir_k3 16 e2; ir_k3 8 s-2 e2",
    "basic_args": {"dw_skip_bnrelu": True},
}
SMALL = {"blocks": {"arch": TABLE}}

test_conformance = conformance(
    "det-mobile",
    examples={
        "backbones/fbnet": SMALL,
        "backbones/fbnet_c4": SMALL,
        "heads/fbnet_box_head": SMALL,
        "heads/fbnet_keypoint_head": SMALL,
        "heads/fbnet_mask_head": SMALL,
        "heads/fbnet_rpn_head": SMALL,
    },
)
