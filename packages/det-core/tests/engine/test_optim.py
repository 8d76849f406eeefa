import pytest
import torch
from det_core.engine.optim import (
    ClipGradients,
    LayerDecay,
    ParamGroups,
    build_optimizer,
    gradient_norm,
    load_optimizer,
    set_learning_rate,
)
from det_core.engine.schedules import WarmupMultiStep
from det_core.errors import ConfigError
from det_core.ops.layers import Conv2d
from det_core.recipes import Factory
from torch import nn


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2), nn.LayerNorm(2))


def sgd(**arguments):
    return Factory(torch.optim.SGD, lr=0.1, weight_decay=0.01, **arguments)


def group_of(optimizer, parameter):
    return next(group for group in optimizer.param_groups if any(parameter is p for p in group["params"]))


def test_normalisation_layers_are_not_decayed_unless_asked():
    model = network()
    optimizer = build_optimizer(sgd(), model, ParamGroups())
    decay = {name: group_of(optimizer, parameter)["weight_decay"] for name, parameter in model.named_parameters()}
    assert decay == {
        "0.weight": 0.01,
        "0.bias": 0.01,
        "1.weight": 0.0,
        "1.bias": 0.0,
        "2.weight": 0.01,
        "2.bias": 0.01,
        "3.weight": 0.0,
        "3.bias": 0.0,
    }


def test_optimizer_pixel_layer_norms_have_weight_decay_as_published():
    model = nn.Sequential(Conv2d(3, 4, 1, norm="LN"), nn.LayerNorm(4))
    optimizer = build_optimizer(sgd(), model, ParamGroups())
    decay = {name: group_of(optimizer, parameter)["weight_decay"] for name, parameter in model.named_parameters()}
    assert decay == {"0.weight": 0.01, "0.norm.weight": 0.01, "0.norm.bias": 0.01, "1.weight": 0.0, "1.bias": 0.0}


def test_none_leaves_the_decay_to_the_optimizer():
    model = network()
    optimizer = build_optimizer(sgd(), model, ParamGroups(norm_weight_decay=None))
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.01}


def test_biases_have_their_own_rate_and_decay():
    model = network()
    optimizer = build_optimizer(sgd(), model, ParamGroups(bias_lr_factor=2.0, bias_weight_decay=0.5))
    assert set_learning_rate(optimizer, WarmupMultiStep(warmup=0), 0) == pytest.approx(0.1)
    biases = group_of(optimizer, model[0].bias)
    assert (biases["lr"], biases["weight_decay"]) == (pytest.approx(0.2), 0.5)
    assert group_of(optimizer, model[1].bias)["lr"] == pytest.approx(0.1)


def test_schedule_scales_every_group_without_accumulating():
    model = network()
    optimizer = build_optimizer(sgd(), model, ParamGroups(bias_lr_factor=2.0))
    schedule = WarmupMultiStep(milestones=(10,), gamma=0.1, warmup=0)
    for step in (0, 10, 11):
        rate = set_learning_rate(optimizer, schedule, step)
    assert rate == pytest.approx(0.01)
    assert group_of(optimizer, model[2].bias)["lr"] == pytest.approx(0.02)


def test_optimizer_groups_contain_each_trained_parameter_once():
    model = network()
    model[0].weight.requires_grad_(False)
    model.append(nn.Linear(4, 2))
    model[4].weight = model[2].weight
    optimizer = build_optimizer(sgd(), model, ParamGroups())
    ids = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


def transformer():
    block = nn.ModuleDict({"mlp": nn.Linear(2, 2), "residual": nn.Linear(2, 2, bias=False)})
    net = nn.ModuleDict({"patch_embed": nn.Linear(2, 2), "blocks": nn.ModuleList([block, nn.Linear(2, 2)])})
    net.register_parameter("pos_embed", nn.Parameter(torch.zeros(1, 2)))
    return nn.ModuleDict({"backbone": net, "head": nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(2, 2)])})})


def test_layers_below_learn_slower_by_a_factor_each():
    factor = LayerDecay(0.5, layers=2)
    assert {name: factor(name) for name, _ in transformer().named_parameters()} == {
        "backbone.pos_embed": 0.125,
        "backbone.patch_embed.weight": 0.125,
        "backbone.patch_embed.bias": 0.125,
        "backbone.blocks.0.mlp.weight": 0.25,
        "backbone.blocks.0.mlp.bias": 0.25,
        "backbone.blocks.0.residual.weight": 1.0,
        "backbone.blocks.1.weight": 0.5,
        "backbone.blocks.1.bias": 0.5,
        "head.blocks.0.weight": 1.0,
        "head.blocks.0.bias": 1.0,
    }


def test_layer_decay_multiplies_bias_learning_rate_factor():
    model = transformer()
    groups = ParamGroups(bias_lr_factor=2.0, weight_decay_of={"pos_embed": 0.0}, layer_decay=LayerDecay(0.5, layers=2))
    optimizer = build_optimizer(sgd(), model, groups)
    block = model["backbone"]["blocks"][1]
    assert group_of(optimizer, block.bias)["base_lr"] == pytest.approx(0.1)
    assert group_of(optimizer, block.weight)["base_lr"] == pytest.approx(0.05)
    positions = group_of(optimizer, model["backbone"].pos_embed)
    assert (positions["base_lr"], positions["weight_decay"]) == (pytest.approx(0.0125), 0.0)


def test_decay_of_zero_layers_is_refused():
    with pytest.raises(ConfigError, match="needs a positive rate and at least one layer"):
        LayerDecay(0.5, layers=0)


def test_optimizer_without_trainable_parameters_is_refused():
    with pytest.raises(ConfigError, match="nothing to train; every parameter of the model is frozen"):
        build_optimizer(sgd(), network().requires_grad_(False), ParamGroups())


def test_any_optimizer_of_torch_can_be_named():
    optimizer = build_optimizer(Factory(torch.optim.AdamW, lr=1e-3), network(), ParamGroups())
    assert isinstance(optimizer, torch.optim.AdamW)


def learn(optimizer, steps=3):
    torch.manual_seed(1)
    for _ in range(steps):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape))
        optimizer.step()


def conv():
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 3)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
def test_step_in_one_pass_is_the_step_in_several(kind):
    options = {} if kind is torch.optim.AdamW else {"momentum": 0.9}
    one, several = conv(), conv()
    factory = Factory(kind, lr=0.1, weight_decay=0.01, **options)
    optimizer = build_optimizer(factory, one, ParamGroups())
    assert optimizer.defaults.get("fused") is (None if kind is torch.optim.RMSprop else True)
    learn(optimizer)
    learn(kind(several.parameters(), lr=0.1, weight_decay=0.01, **options))
    torch.testing.assert_close(one.weight, several.weight)


@pytest.mark.parametrize("options", [{"fused": False}, {"foreach": True}, {"differentiable": True}])
def test_how_steps_are_computed_can_be_chosen(options):
    optimizer = build_optimizer(sgd(**options), network(), ParamGroups())
    assert not optimizer.defaults["fused"]


def test_optimizer_fused_is_off_for_channels_last_parameters():
    optimizer = build_optimizer(sgd(), conv().to(memory_format=torch.channels_last), ParamGroups())
    assert optimizer.defaults["fused"] is None


def test_optimizer_channels_last_momenta_are_restored_in_layout():
    last, usual = conv().to(memory_format=torch.channels_last), conv()
    before = build_optimizer(sgd(momentum=0.9), last, ParamGroups())
    learn(before)
    usual.load_state_dict(last.state_dict())
    after = build_optimizer(sgd(momentum=0.9), usual, ParamGroups())
    load_optimizer(after, before.state_dict())
    learn(before)
    learn(after)
    torch.testing.assert_close(usual.weight, last.weight.contiguous())


def three_four():
    model = nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[3.0, -4.0]])
    return model


def test_gradient_norm_of_three_and_four_is_five():
    assert gradient_norm(three_four()).item() == pytest.approx(5.0)


def test_gradient_norm_without_gradients_is_zero():
    assert gradient_norm(nn.Linear(2, 1)).item() == 0.0


def test_clipping_by_norm_keeps_the_direction():
    model = three_four()
    ClipGradients(1.0)(model.parameters(), gradient_norm(model))
    assert model.weight.grad.tolist() == [pytest.approx([0.6, -0.8])]


def test_clipping_by_norm_leaves_short_gradients_alone():
    model = three_four()
    ClipGradients(10.0)(model.parameters(), gradient_norm(model))
    assert model.weight.grad.tolist() == [[3.0, -4.0]]


def test_clip_by_norm_per_parameter_uses_each_parameter_alone():
    model = three_four()
    model.bias = nn.Parameter(torch.zeros(1))
    model.bias.grad = torch.tensor([0.5])
    ClipGradients(1.0, by="norm_of_each")(model.parameters(), gradient_norm(model))
    assert model.weight.grad.tolist() == [pytest.approx([0.6, -0.8])]
    assert model.bias.grad.tolist() == [0.5]


def test_clipping_by_value_cuts_each_value():
    model = three_four()
    ClipGradients(3.5, by="value")(model.parameters(), gradient_norm(model))
    assert model.weight.grad.tolist() == [[3.0, -3.5]]


def test_limit_of_zero_is_refused():
    with pytest.raises(ConfigError, match=r"train\.clip_gradients\.limit: must be positive"):
        ClipGradients(0.0)
