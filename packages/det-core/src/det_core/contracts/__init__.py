"""Contracts of the parts: one small Protocol per kind, checkable at run time.

A part needs no base class, decorator or registration call: a class with these attributes and methods is enough. Models
and heads are ordinary `nn.Module`s. `channels` and `strides` describe feature levels; a parent passes them to the parts
that it builds (`Factory`).

A head that a plugin offers by name declares its contract, for the conformance kit: a class by an attribute,
`contract = "RegionHead"`, or by deriving from the Protocol; a function by its return annotation.
"""

from det_core.contracts.data import Dataset, Indexed, Sampler, Transform
from det_core.contracts.evaluation import Analysis, Evaluator, Explanation
from det_core.contracts.export import Exportable, Exported, Exporter
from det_core.contracts.heads import (
    AnchorGenerator,
    BoxHead,
    BoxPredictor,
    CascadeBoxPredictor,
    DenseHead,
    MaskLoss,
    PooledRegionHead,
    Pooler,
    ProposalGenerator,
    RefinesRegions,
    RegionHead,
    ROIHeads,
    RPNHead,
    SemanticHead,
)
from det_core.contracts.models import (
    Augmentable,
    Backbone,
    Compilable,
    GivenBoxes,
    HasNMS,
    Model,
    OlderWeights,
    Preprocess,
    SegmentMaker,
)

__all__ = ["Analysis", "AnchorGenerator", "Augmentable", "Backbone", "BoxHead", "BoxPredictor"]
__all__ += ["CascadeBoxPredictor", "Compilable", "Dataset", "DenseHead", "Evaluator", "Explanation", "Exportable"]
__all__ += ["Exported", "Exporter", "GivenBoxes", "HasNMS", "Indexed", "MaskLoss", "Model", "OlderWeights"]
__all__ += ["PooledRegionHead", "Pooler", "Preprocess", "ProposalGenerator", "ROIHeads", "RPNHead", "RefinesRegions"]
__all__ += ["RegionHead", "Sampler", "SegmentMaker", "SemanticHead", "Transform"]
