"""An implementation of each contract trains for a step through a recipe, and passes the kit."""

import copy
import sys
from pathlib import Path

import pytest
import torch
from det_core import contracts, recipes
from det_core.predict.optimize import optimize
from det_core.structures import ImageBatch, Targets
from det_devkit.conformance.run import cases_of_component
from det_inspect.predictions import AugmentedDetector

HERE = Path(__file__).parent
P = "contract_parts"
BACKBONE = {"type": f"{P}:TinyBackbone"}
RPN = {"type": "rpn", "anchor_generator": {"scales": [2.0]}}
STAGE = {"type": "standard_roi_heads", "box_head": {"type": f"{P}:Flat"}, "pooler": {"resolution": 3}}


def rcnn(**changes):
    model = {"type": "rcnn", "num_classes": 3, "backbone": BACKBONE, "proposal_generator": RPN, "roi_heads": STAGE}
    return {**model, **changes}


MODELS = {
    "AnchorGenerator": rcnn(proposal_generator={"type": "rpn", "anchor_generator": {"type": f"{P}:Squares"}}),
    "Backbone": rcnn(),
    "BoxHead": rcnn(),
    "BoxPredictor": rcnn(roi_heads={**STAGE, "box_predictor": {"type": f"{P}:Classes"}}),
    "CascadeBoxPredictor": rcnn(
        roi_heads={**STAGE, "type": "cascade_roi_heads", "box_predictor": {"type": f"{P}:Stages"}}
    ),
    "DenseHead": {
        "type": "dense_detector", "num_classes": 3, "backbone": BACKBONE, "head": {"type": f"{P}:Cells"},
    },
    "MaskLoss": rcnn(
        roi_heads={
            **STAGE,
            "heads": {
                "mask_head": {
                    "type": "mask_rcnn_conv_upsample_head", "num_conv": 1, "conv_dim": 8,
                    "loss": {"type": f"{P}:SquaredMasks"},
                },
            },
        }
    ),
    "Model": {"type": f"{P}:Whole"},
    "Pooler": rcnn(roi_heads={**STAGE, "pooler": {"type": f"{P}:Pool"}}),
    "PooledRegionHead": rcnn(
        roi_heads={
            "type": "res5_roi_heads", "in_features": ["a"], "pooler": {"resolution": 4},
            "res5": {"out_channels": 16, "width_per_group": 1, "norm": ""}, "heads": {"mark": {"type": f"{P}:Marks"}},
        }
    ),
    "Preprocess": rcnn(preprocess={"type": f"{P}:Pixels"}),
    "ProposalGenerator": rcnn(proposal_generator={"type": f"{P}:Proposer"}),
    "ROIHeads": rcnn(roi_heads={"type": f"{P}:Second"}),
    "RPNHead": rcnn(proposal_generator={**RPN, "head": {"type": f"{P}:Objectness"}}),
    "RefinesRegions": rcnn(
        roi_heads={**STAGE, "box_predictor": {"type": f"{P}:Refining"}, "train_on_predicted_boxes": True}
    ),
    "RegionHead": rcnn(roi_heads={**STAGE, "heads": {"mark": {"type": f"{P}:Marks"}}}),
    "SemanticHead": {
        "type": "semantic_segmentor", "num_classes": 3, "backbone": BACKBONE,
        "sem_seg_head": {"type": f"{P}:PixelClasses"},
    },
}  # fmt: skip
COMPONENTS = (
    *(("backbones", "TinyBackbone"), ("models", "Whole")),
    *(("heads", name) for name in ("Pixels", "Squares", "Objectness", "Pool", "Flat", "Classes", "Stages")),
    *(("heads", name) for name in ("Marks", "Proposer", "Second", "Cells", "PixelClasses")),
)
# Consumed and implemented by a plugin in test_throwaway_plugin.py, or asked of a model in the tests below; those of
# exporting in the tests of det-export.
ELSEWHERE = {"Compilable", "Dataset", "Evaluator", "Exportable", "Exported", "GivenBoxes", "HasNMS", "SegmentMaker"}
ELSEWHERE |= {"Augmentable"}  # in the tests of det-densepose
# Implemented in test_contracts_of_the_loop.py.
OF_THE_LOOP = {"Analysis", "Explanation", "Exporter", "Indexed", "OlderWeights", "Sampler", "Transform"}


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    monkeypatch.syspath_prepend(HERE / "throwaway")
    yield
    sys.modules.pop(P, None)


def images():
    random = torch.Generator().manual_seed(0)
    return ImageBatch.stack([torch.randint(0, 256, (3, 64, w), generator=random, dtype=torch.uint8) for w in (80, 64)])


def truth(width):
    boxes = torch.tensor([[4.0, 4.0, 30.0, 34.0], [20.0, 10.0, 60.0, 60.0]])
    masks = torch.zeros(2, 64, width, dtype=torch.bool)
    masks[:, 10:30, 20:30] = True
    return Targets(boxes=boxes, labels=torch.tensor([0, 2]), masks=masks, semantic=torch.ones(64, width).long())


def test_contracts_each_has_an_implementation_that_is_consumed():
    assert set(contracts.__all__) == MODELS.keys() | ELSEWHERE | OF_THE_LOOP


@pytest.mark.parametrize("contract", MODELS)
def test_contract_implementation_in_recipe_trains_a_step(contract):
    torch.manual_seed(0)
    model = recipes.recipe_from_tree({"model": MODELS[contract]}).check().build_model()
    before = copy.deepcopy(model.state_dict())
    losses = model(images(), [truth(80), truth(64)])
    sum(losses.values()).backward()
    torch.optim.SGD([p for p in model.parameters() if p.grad is not None], lr=0.01).step()
    assert all(value.isfinite() for value in losses.values())
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        assert len(model.eval()(images())) == 2


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_contract_implementation_passes_the_kit(kind, name):
    import contract_parts

    cases = cases_of_component(kind, getattr(contract_parts, name), None, None)
    failed = [o for o in (case.outcome(slow=False) for case in cases) if o.status == "failed"]
    assert not failed, failed


def test_augmented_detector_asks_model_for_given_boxes_and_nms():
    import contract_parts

    model = contract_parts.Whole()
    assert isinstance(model, contracts.GivenBoxes)
    assert isinstance(model, contracts.HasNMS)
    assert isinstance(model, contracts.SegmentMaker)
    with torch.no_grad():
        [found, _] = AugmentedDetector(model, sizes=[64, 96])(images())
    assert len(found.detections) == 1


def test_optimize_compiles_the_networks_that_the_model_names(monkeypatch):
    import contract_parts

    compiled = []
    monkeypatch.setattr(contract_parts.TinyBackbone, "compile", lambda self: compiled.append(type(self).__name__))
    optimize(contract_parts.Whole(), compiled=True)
    assert compiled == ["TinyBackbone"]
