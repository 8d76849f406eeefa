"""The branch of DensePose in a two-stage detector: its parts, its regions, its results."""

import copy

import pytest
import torch
from det_core.errors import ConfigError, DataError
from det_core.models import StandardROIHeads
from det_core.ops.roi import ROIPooler
from det_core.recipes import Factory
from det_core.structures import Detections, Proposals, Targets
from det_densepose.losses import CoarseLossFromMasks, DensePoseChartLoss, DensePoseCseLoss
from det_densepose.models import (
    Decoder,
    DensePoseChartPredictor,
    DensePoseDeepLabHead,
    DensePoseEmbeddingPredictor,
    DensePoseHead,
    DensePoseV1ConvXHead,
    VertexDirectEmbedder,
    VertexFeatureEmbedder,
    densepose_roi_heads,
)
from det_densepose.models.densepose import learnable
from det_densepose.models.heads import NonLocalBlock
from det_densepose.structures import COARSE, FRAME, MESH, POINTS, SURFACE, Mesh, MeshEmbeddings, mesh_id

CHANNELS = {"p2": 32, "p3": 32, "p4": 32, "p5": 32, "p6": 32}
STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}
SMALL_HEAD = Factory(DensePoseV1ConvXHead, num_conv=2, conv_dim=16)
CAT = {"cat": Factory(VertexDirectEmbedder, num_vertices=6)}


def branch(**changes):
    settings = {
        "pooler": Factory(ROIPooler, resolution=4, pooling="ROIAlign", sampling_ratio=2),
        "decoder": Factory(Decoder, out_channels=32, conv_dim=16),
        "densepose_head": SMALL_HEAD,
        "densepose_predictor": Factory(DensePoseChartPredictor, num_parts=2),
        **changes,
    }
    torch.manual_seed(0)
    return DensePoseHead(CHANNELS, STRIDES, 1, **settings)


def cse(**changes):
    predictor = Factory(DensePoseEmbeddingPredictor, embed_dim=4)
    return branch(densepose_predictor=predictor, embedder=CAT, loss=DensePoseCseLoss(), **changes)


def features(images=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sides = {name: 128 // stride for name, stride in STRIDES.items()}
    return {name: torch.randn(images, 32, side, side, generator=generator) for name, side in sides.items()}


def person(points=True, masks=None):
    """A person in the middle of an image of 128 x 128, with two points."""
    surface = torch.tensor([[[1, 0.5, 0.5, 0], [2, 0.25, 0.75, 5]]])
    if not points:
        surface[..., 0] = surface[..., 3] = -1
    return Targets(
        boxes=torch.tensor([[32.0, 32, 96, 96]]),
        labels=torch.zeros(1, dtype=torch.int64),
        masks=masks,
        extras={
            POINTS: torch.tensor([[[40.0, 50], [80, 70]]]),
            SURFACE: surface,
            MESH: torch.tensor([mesh_id("cat")]),
            COARSE: torch.ones(1, 256, 256, dtype=torch.uint8),
            FRAME: torch.tensor([[[32.0, 32], [96, 32], [32, 96]]]),
        },
    )


def detections(count=2):
    boxes = torch.tensor([[30.0, 30, 90, 100], [10, 10, 40, 60]])[:count]
    return Detections(
        boxes=boxes, labels=torch.zeros(count, dtype=torch.int64), scores=torch.ones(count), size=(128, 128)
    )


def test_predict_adds_raw_outputs_at_four_times_pooled_side():
    (found,) = branch().predict(features(), [detections()])
    assert {key: tuple(value.shape) for key, value in found.extras.items()} == {
        "det-densepose/coarse_segm": (2, 2, 16, 16),
        "det-densepose/fine_segm": (2, 3, 16, 16),
        "det-densepose/u": (2, 3, 16, 16),
        "det-densepose/v": (2, 3, 16, 16),
    }


@pytest.mark.parametrize("head", [SMALL_HEAD, Factory(DensePoseDeepLabHead, num_conv=1, conv_dim=32)])
def test_predict_without_detections_gives_empty_outputs(head):
    (found,) = branch(densepose_head=head).predict(features(), [detections(0)])
    assert found.extras["det-densepose/u"].shape == (0, 3, 16, 16)


def test_predict_of_a_batch_is_that_of_its_images():
    model = branch().eval()
    maps = features(images=2)
    together = model.predict(maps, [detections(2), detections(1)])
    for i, count in enumerate((2, 1)):
        (alone,) = model.predict({name: value[i : i + 1] for name, value in maps.items()}, [detections(count)])
        torch.testing.assert_close(alone.extras["det-densepose/v"], together[i].extras["det-densepose/v"])


def test_predict_without_decoder_pools_by_region_size():
    model = branch(decoder=None)
    maps = features()
    large = Detections(
        boxes=torch.tensor([[0.0, 0, 128, 128]]), labels=torch.zeros(1).long(), scores=torch.ones(1), size=(128, 128)
    )
    before = model.predict(maps, [large])[0].extras["det-densepose/u"]
    maps["p3"] = maps["p3"] + 1  # a region of 128 pixels is on level 3
    assert not torch.allclose(before, model.predict(maps, [large])[0].extras["det-densepose/u"])
    maps["p4"], maps["p2"] = maps["p4"] + 1, maps["p2"] + 1
    torch.testing.assert_close(
        model.predict({**maps, "p3": maps["p3"] - 1}, [large])[0].extras["det-densepose/u"], before
    )


def test_confidences_of_segmentations_multiply_their_logits():
    predictor = DensePoseChartPredictor(8, num_parts=2, segm_confidence=True, uv_confidence="indep_aniso")
    x = torch.randn(2, 8, 4, 4)
    outputs = predictor(x)
    assert list(outputs) == [
        *("coarse_segm", "fine_segm", "u", "v", "sigma_2", "kappa_u", "kappa_v"),
        *("fine_segm_confidence", "coarse_segm_confidence"),
    ]
    plain = torch.nn.functional.interpolate(predictor.ann_index_lowres(x), scale_factor=2, mode="bilinear")
    assert (outputs["coarse_segm_confidence"] > 0.01).all()
    torch.testing.assert_close(outputs["coarse_segm"], plain * outputs["coarse_segm_confidence"])


def test_nonlocal_block_starts_as_the_identity():
    x = torch.randn(2, 32, 6, 6)
    block = NonLocalBlock(32)
    torch.testing.assert_close(block(x), x)
    torch.nn.init.normal_(block.W[1].weight)
    assert not torch.allclose(block(x), x)
    assert DensePoseDeepLabHead(32, 1, 32, nonlocal_block=True)(x).shape == (2, 32, 6, 6)


@pytest.mark.parametrize(("shift", "kept"), [(0.0, True), (11.0, True), (12.0, False)])
def test_learnable_keeps_regions_above_iou_threshold(shift, kept):
    # A shift of s pixels leaves (64 - s) / (64 + s): 0.7067 for 11 and 0.684 for 12.
    boxes = torch.tensor([[32.0 + shift, 32, 96 + shift, 96]])
    assert learnable(boxes, person(), 0.7, masks=False).tolist() == [kept]


def test_learnable_keeps_objects_without_points_only_for_their_masks():
    mask = torch.ones(1, 128, 128, dtype=torch.bool)
    boxes, bare = person().boxes, person(points=False, masks=mask)
    bare = Targets(boxes=bare.boxes, labels=bare.labels, masks=mask)
    assert learnable(boxes, bare, 0.7, masks=False).tolist() == [False]
    assert learnable(boxes, bare, 0.7, masks=True).tolist() == [True]
    nothing = Targets(boxes=bare.boxes, labels=bare.labels, masks=torch.zeros_like(mask))
    assert learnable(boxes, nothing, 0.7, masks=True).tolist() == [False]


def test_losses_read_features_of_the_right_image():
    model = branch()
    maps = features(images=2)
    empty = Targets(boxes=person().boxes, labels=person().labels)
    both = model.losses(maps, [empty.boxes, person().boxes], [empty, person()])
    alone = model.losses({name: value[1:] for name, value in maps.items()}, [person().boxes], [person()])
    assert both.keys() == alone.keys()
    for name, value in alone.items():
        torch.testing.assert_close(both[name], value)


@pytest.mark.parametrize("make", [branch, cse])
def test_losses_without_points_are_zero_with_gradients(make):
    model = make()
    empty = Targets(boxes=person().boxes, labels=person().labels)
    losses = model.losses(features(), [empty.boxes], [empty])
    assert all(value == 0 for value in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("make", [branch, cse])
def test_losses_reach_every_parameter(make):
    model = make()
    losses = model.losses(features(), [person().boxes], [person()])
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_stage_registers_branch_under_published_names():
    stage = small_stage()
    tops = {key.split(".")[0] for key in stage.state_dict()}
    assert tops == {"box_head", "box_predictor", "decoder", "densepose_head", "densepose_predictor", "embedder"}
    assert len(list(stage.parameters())) == len({id(parameter) for parameter in stage.parameters()})


def test_stage_trains_predicts_and_loads_like_any_other():
    stage = small_stage()
    proposals = Proposals(boxes=torch.tensor([[30.0, 30, 95, 97], [0, 0, 20, 20]]), logits=torch.zeros(2))
    losses = stage.losses(features(), [proposals], [person()], [(128, 128)])
    assert {"loss_cls", "loss_box_reg", "loss_densepose_S", "loss_densepose_Ecat"} == losses.keys()
    other = copy.deepcopy(stage)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    # The copy's branch refers to its own parts, not to those of the original.
    before, after = (each.predict_given_boxes(features(), [detections()])[0].extras for each in (stage, other))
    key = "det-densepose/embedding"
    assert not torch.allclose(before[key] + 0, after[key] + 0)
    other.load_state_dict(stage.state_dict())
    torch.testing.assert_close(
        other.predict_given_boxes(features(), [detections()])[0].extras[key] + 0, before[key] + 0
    )


def small_stage():
    densepose = Factory(
        DensePoseHead,
        pooler=Factory(ROIPooler, resolution=4, pooling="ROIAlign", sampling_ratio=2),
        decoder=Factory(Decoder, out_channels=32, conv_dim=16),
        densepose_head=SMALL_HEAD,
        densepose_predictor=Factory(DensePoseEmbeddingPredictor, embed_dim=4),
        embedder=CAT,
        loss=DensePoseCseLoss(),
    )
    stage = Factory(StandardROIHeads, pooler=Factory(ROIPooler, resolution=2))
    return densepose_roi_heads(CHANNELS, STRIDES, 1, stage=stage, densepose=densepose)


def test_embeddings_of_detections_bring_those_of_the_vertices():
    (found,) = cse().predict(features(), [detections()])
    embedding = found.extras["det-densepose/embedding"]
    assert isinstance(embedding, MeshEmbeddings)
    assert embedding.mesh_of_label == ("cat",)
    torch.testing.assert_close(embedding.vertices["cat"].norm(dim=1), torch.ones(6))


def test_mesh_of_label_without_every_class_is_refused():
    meshes = {"cat": CAT["cat"], "dog": CAT["cat"]}
    predictor = Factory(DensePoseEmbeddingPredictor)
    with pytest.raises(ConfigError, match="mesh_of_label"):
        branch(densepose_predictor=predictor, embedder=meshes)
    with pytest.raises(ConfigError, match="mesh_of_label"):
        branch(densepose_predictor=predictor, embedder=meshes, mesh_of_label=("horse",))
    assert branch(densepose_predictor=predictor, embedder=meshes, mesh_of_label=("dog",)).mesh_of_label == ("dog",)


def test_embedder_with_chart_predictor_is_refused():
    with pytest.raises(ConfigError, match="densepose_predictor"):
        branch(embedder=CAT)


@pytest.mark.parametrize("kind", [VertexDirectEmbedder, VertexFeatureEmbedder])
def test_vertex_embedders_start_with_a_direction_for_each_vertex(kind):
    vectors = kind(50)()
    assert vectors.shape == (50, 16)
    assert (vectors.norm(dim=1) > 0.1).all()


def test_vertex_feature_embedder_without_training_keeps_both_tables():
    embedder = VertexFeatureEmbedder(5, feature_dim=3, trainable=False)
    assert [name for name, p in embedder.named_parameters() if p.requires_grad] == []
    learned = VertexFeatureEmbedder(5, feature_dim=3, features_trainable=True)
    assert {name for name, _ in learned.named_parameters()} == {"features", "embeddings"}
    assert embedder.state_dict().keys() == learned.state_dict().keys()


class Source:
    """A source of one mesh with given features."""

    def __init__(self, features):
        self.features = features

    def mesh(self, name):
        return Mesh(name, 5, features=None if self.features is None else lambda: self.features)


def test_prepare_loads_mesh_features_unless_weights_had_them():
    given = torch.arange(20.0).reshape(5, 4)
    embedder = VertexFeatureEmbedder(5, feature_dim=3, meshes=Factory(Source, features=given))
    embedder.prepare("cat")
    torch.testing.assert_close(embedder.features, given[:, :3])
    loaded = VertexFeatureEmbedder(5, feature_dim=3, meshes=Factory(Source, features=given))
    loaded.load_state_dict({"features": torch.zeros(5, 3), "embeddings": torch.zeros(3, 16)})
    loaded.prepare("cat")
    assert not loaded.features.any()


def test_prepare_with_missing_or_foreign_features_is_refused():
    with pytest.raises(DataError, match="has no features"):
        VertexFeatureEmbedder(5, feature_dim=3, meshes=Factory(Source, features=None)).prepare("cat")
    with pytest.raises(DataError, match="do not fit"):
        VertexFeatureEmbedder(6, feature_dim=3, meshes=Factory(Source, features=torch.zeros(5, 3))).prepare("cat")


def test_decoder_starts_at_the_finest_level():
    with pytest.raises(ConfigError, match="stride"):
        Decoder({"p3": 8}, {"p3": 8}, stride=4)
    coarse = Decoder({"p3": 8, "p4": 8}, {"p3": 8, "p4": 16}, out_channels=6, conv_dim=4)
    assert coarse({"p3": torch.zeros(1, 8, 10, 12), "p4": torch.zeros(1, 8, 5, 6)}).shape == (1, 6, 10, 12)


def test_branch_with_masks_trains_on_objects_without_points():
    mask = torch.zeros(1, 128, 128, dtype=torch.bool)
    mask[:, 40:80, 40:80] = True
    model = branch(loss=DensePoseChartLoss(coarse=CoarseLossFromMasks()))
    both = Targets(
        boxes=person().boxes.repeat(2, 1),
        labels=torch.zeros(2, dtype=torch.int64),
        masks=mask.repeat(2, 1, 1),
        extras={key: torch.cat((person().extras[key], person(False).extras[key])) for key in person().extras},
    )
    more = model.losses(features(), [both.boxes], [both])
    assert more["loss_densepose_S"] > 0


def test_branch_exports_with_dynamic_number_of_regions():
    model = branch().eval()
    maps = features()

    class Raw(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, maps, boxes):
            return self.model(maps, [boxes])

    count = torch.export.Dim("regions", min=1, max=100)
    shapes = (dict.fromkeys(maps), {0: count})
    program = torch.export.export(Raw(), (maps, detections(2).boxes), dynamic_shapes=shapes)
    for boxes in (detections(2).boxes, torch.cat([detections(2).boxes] * 2)):
        for name, value in program.module()(maps, boxes).items():
            torch.testing.assert_close(value, model(maps, [boxes])[name])
