"""A node of a recipe is checked against the signature that it spells, and built from the leaves up."""

import enum
import functools
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import pytest
from det_core.errors import ConfigError, PluginError, UnknownNameError
from det_core.recipes import Factory, Source
from det_core.recipes.allow_list import ANYTHING
from det_core.recipes.check import check
from pydantic import Field


@runtime_checkable
class Paint(Protocol):
    colour: str

    def spread(self) -> int: ...


class Oil:
    def __init__(self, colour: str = "red", layers: int = 1) -> None:
        self.colour, self.layers = colour, layers

    def spread(self) -> int:
        return self.layers


class Thinner:
    """No paint: it lacks the method."""


class Blank:
    """No paint: it lacks the attribute."""

    def spread(self) -> int:
        return 0


class Brush:
    def __init__(self, width: int, paint: Paint | None = None, hairs: float = 1.0) -> None:
        self.width, self.paint, self.hairs = width, paint, hairs


class Wall:
    def __init__(self, size: tuple[int, int], coats: Sequence[Factory[Paint]] = ()) -> None:
        self.size, self.coats = size, [coat(layers=number) for number, coat in enumerate(coats)]


class Careful:
    def __init__(self, depth: int) -> None:
        if depth < 0:
            raise ValueError("no depth below zero")
        if depth > 100:
            raise ConfigError("depth", "must be at most 100")


class Open:
    def __init__(self, known: int = 1, **others: Any) -> None:
        self.given = {"known": known, **others}


@dataclass(frozen=True)
class Clock:
    hour: int
    minute: int = 0


class Shop:
    def __init__(self, clock: Clock = Clock(8), paint: Factory[Paint] = Factory(Oil, colour="green")) -> None:
        self.clock, self.paint = clock, paint


class Grain(enum.Enum):
    FINE = "fine"
    COARSE = "coarse"


@pytest.fixture(autouse=True)
def shop(monkeypatch):
    """The classes above, importable as "shop:Name"."""
    module = types.ModuleType("shop")
    vars(module).update({name: value for name, value in globals().items() if not name.startswith("_")})
    monkeypatch.setitem(sys.modules, "shop", module)
    return module


def built(node: Any, annotation: Any = Any) -> Any:
    return check(node, annotation, "model").build()


def message(node: Any, annotation: Any = Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check(node, annotation, "model")
    return str(caught.value)


@pytest.mark.parametrize(
    ("node", "annotation", "value"),
    [
        (3, int, 3),
        (3, float, 3.0),
        (2.5, float, 2.5),
        (True, bool, True),
        ("a", str, "a"),
        (None, int | None, None),
        (3, int | None, 3),
        (3, float | int, 3),
        (2.5, int | float, 2.5),
        ("RGB", Literal["RGB", "BGR"], "RGB"),
        ([1, 2], tuple[int, int], (1, 2)),
        ([1, 2, 3], tuple[float, ...], (1.0, 2.0, 3.0)),
        ([1, 2], Sequence[int], (1, 2)),
        ([1, 2], list[float], [1.0, 2.0]),
        ([[1], []], Sequence[Sequence[int]], ((1,), ())),
        ({"a": 1}, Mapping[str, float], {"a": 1.0}),
        ({"a": 1}, dict, {"a": 1}),
        ([1, "a"], Any, [1, "a"]),
        ("fine", Grain, Grain.FINE),
    ],
)
def test_value_is_converted_by_annotation(node, annotation, value):
    result = built(node, annotation)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("node", "annotation", "words"),
    [
        (True, int, "must be a whole number; got true"),
        (True, float, "must be a number; got true"),
        (3.0, int, "must be a whole number; got 3.0"),
        ("3", int, "must be a whole number; got text '3'; write it without quotes"),
        ("3", float, "must be a number; got text '3'"),
        (1, bool, "must be true or false; got 1"),
        ("true", bool, "must be true or false; got text 'true'"),
        (3, str, "must be text; got 3"),
        (None, int, "must be a whole number; got null"),
        ("RBG", Literal["RGB", "BGR"], "must be one of 'RGB', 'BGR'; got text 'RBG'; did you mean 'RGB'?"),
        (True, Literal[1, 2], "must be one of 1, 2; got true"),
        ([1, 2, 3], tuple[int, int], "must be a list of 2; got [1, 2, 3]"),
        ("abc", Sequence[str], "must be a list, each text; got text 'abc'"),
        ({"a": 1}, Sequence[int], "must be a list"),
        ([1], Mapping[str, int], "must be a mapping; got [1]"),
        ("x", int | float | None, "must be a whole number or a number or null; got text 'x'"),
        ("rough", Grain, "must be one of 'fine', 'coarse'; got text 'rough'"),
        (10**400, float, "must be a number"),
        (-1, Annotated[int, Field(gt=0)], "should be greater than 0; got -1"),
        (True, Annotated[int, Field(gt=0)], "must be a whole number; got true"),
    ],
)
def test_invalid_value_is_refused_with_description(node, annotation, words):
    assert message(node, annotation).startswith(f"model: {words}")


def test_error_path_leads_to_faulty_item():
    assert message({"a": [1, "x"]}, Mapping[str, Sequence[int]]).startswith("model.a.1: must be a whole number")


def test_node_is_built_bottom_up():
    brush = built({"type": "shop:Brush", "width": 3, "paint": {"type": "shop:Oil", "colour": "blue"}, "hairs": 2})
    assert (brush.width, brush.paint.colour, brush.hairs) == (3, "blue", 2.0)


def test_unknown_argument_suggests_nearest():
    node = {"type": "shop:Brush", "width": 3, "paint": {"type": "shop:Oil", "color": "blue"}}
    assert message(node) == "model.paint.color: Oil has no argument 'color'; did you mean 'colour'?"


def test_unknown_argument_without_near_one_lists_all():
    assert message({"type": "shop:Oil", "zzz": 1}) == "model.zzz: Oil has no argument 'zzz'; it has colour, layers"


def test_missing_argument_is_reported_before_building():
    assert message({"type": "shop:Brush"}) == "model: Brush needs 'width'"


def test_node_without_type_for_contract_is_refused():
    assert "needs a `type`" in message({"colour": "red"}, Paint)
    assert "write {type: NAME" in message("oil", Paint)
    assert message({"type": 3}, Paint).startswith("model.type: must be a name; got 3")


def test_class_annotation_needs_no_type():
    assert built({"hour": 7}, Clock) == Clock(7)
    assert message({"hour": 7, "minutes": 1}, Clock).startswith("model.minutes: Clock has no argument")


def test_factory_is_called_with_arguments_of_parent():
    wall = built({"type": "shop:Wall", "size": [2, 3], "coats": [{"type": "shop:Oil"}, {"type": "shop:Oil"}]})
    assert wall.size == (2, 3)
    assert [coat.layers for coat in wall.coats] == [0, 1]
    assert wall.coats[0] is not wall.coats[1]


def test_factory_checks_arguments_before_parent_is_built():
    node = {"type": "shop:Wall", "size": [2, 3], "coats": [{"type": "shop:Oil", "layers": "x"}]}
    assert message(node) == "model.coats.0.layers: must be a whole number; got text 'x'"


def test_recipe_may_not_set_arguments_of_parent():
    node = {"type": "shop:Wall", "size": [2, 3], "coats": [{"type": "shop:Oil", "layers": 7}]}
    with pytest.raises(ConfigError, match=r"model.coats.0.layers: is decided by what surrounds it; it is set to 7"):
        built(node)


def test_resolved_factory_repeats_defaults_and_parent_still_decides():
    node = {"type": "shop:Wall", "size": [2, 3], "coats": [{"type": "shop:Oil"}]}
    resolved = check(node, Any, "model").resolved()
    assert resolved["coats"][0]["layers"] == 1
    assert built(resolved).coats[0].layers == 0


def test_factory_in_python_passes_named_arguments_only():
    assert Factory(Oil, colour="blue")(layers=2, strides={}).layers == 2
    with pytest.raises(ConfigError, match="did you mean 'colour'"):
        Factory(Oil, color="blue")
    with pytest.raises(ConfigError, match="Brush needs 'width'"):
        Factory(Brush)()


def test_factory_of_accepts_class_partial_and_factory():
    factory = Factory(Oil)
    assert Factory.of(factory) is factory
    assert Factory.of(Oil)(layers=3, strides=1).layers == 3
    assert Factory.of(functools.partial(Oil, colour="blue"))(layers=2, strides=1).colour == "blue"


def test_factory_called_twice_builds_parts_twice():
    factory = built({"type": "shop:Brush", "paint": {"type": "shop:Oil"}}, Factory[Brush])
    assert factory(width=1).paint is not factory(width=2).paint


def test_built_object_must_have_members_of_contract():
    message = r"model: Blank is not a Paint; it lacks 'colour'; see .*Paint"
    with pytest.raises(ConfigError, match=message):
        built({"type": "shop:Blank"}, Paint)


def test_class_lacking_contract_method_is_refused_before_building():
    assert message({"type": "shop:Thinner"}, Paint).startswith("model: Thinner is not a Paint; it lacks 'spread'")


def test_built_object_must_be_of_annotated_class():
    with pytest.raises(ConfigError, match="model: must be a Clock; got an Oil"):
        built({"type": "shop:Oil"}, Clock)


def test_constructor_error_is_reported_with_path_and_cause():
    with pytest.raises(ConfigError, match="model: Careful cannot be built; ValueError: no depth below zero") as caught:
        built({"type": "shop:Careful", "depth": -1})
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(ConfigError, match=r"^model: depth: must be at most 100$"):
        built({"type": "shop:Careful", "depth": 101})


def test_callable_with_kwargs_accepts_any_argument():
    assert built({"type": "shop:Open", "other": [1]}).given == {"known": 1, "other": [1]}
    assert message({"type": "shop:Open", "known": "x"}).startswith("model.known: must be a whole number")


def test_callable_without_signature_can_be_named():
    assert check({"type": "builtins:dict", "a": 1}, allow=ANYTHING).build() == {"a": 1}


def test_callable_annotation_takes_callable_itself():
    assert built("shop:Oil", Callable[..., Paint]) is Oil
    assert "must name a callable" in message("oil", Callable)


def test_annotations_that_cannot_be_resolved_are_not_checked(shop):
    exec("def odd(a: 'Nowhere', b: 3 = 3, c=4, d: 'int' = 5):\n    return (a, b, c, d)", vars(shop))
    assert built({"type": "shop:odd", "a": "x", "b": "y", "c": [1]}) == ("x", "y", [1], 5)
    assert "model.d: must be a whole number" in message({"type": "shop:odd", "a": 1, "d": "x"})


def test_nested_node_is_built_where_any_is_allowed(shop):
    exec("def any_thing(x): return x", vars(shop))
    assert built({"type": "shop:any_thing", "x": [{"type": "shop:Oil"}, 2]})[0].colour == "red"


def test_unresolvable_import_path_is_reported_with_place(shop):
    shop.number = 3
    with pytest.raises(UnknownNameError, match=r"model.type: 'shop' has no 'Oli'; did you mean 'Oil'"):
        check({"type": "shop:Oli"}, Any, "model")
    with pytest.raises(UnknownNameError, match=r"model.type: there is no module 'no_such_shop'"):
        check({"type": "no_such_shop:Oil"}, Any, "model")
    with pytest.raises(PluginError, match="cannot be called"):
        check({"type": "shop:number"}, Any, "model")


def test_location_is_absolute_below_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("DET_DATA", str(tmp_path))
    assert built("a/b.json", Path) == tmp_path / "a" / "b.json"
    assert built("a.pth", Source) == str(tmp_path / "a.pth")
    assert built("https://x.org/a.pth", Source) == "https://x.org/a.pth"
    assert built("/a.pth", Source | None) == str(Path("/a.pth").absolute())
    monkeypatch.delenv("DET_DATA")
    assert built("a", Path) == Path.cwd() / "a"
    assert message(3, Path) == "model: must be a path; got 3"
    assert message("", Source).startswith("model: must be a path or a URL")


def test_resolved_node_has_all_values_and_resolves_to_itself():
    node = {"type": "shop:Brush", "width": 3, "paint": {"type": "shop:Oil"}}
    plan = check(node, Any, "model")
    resolved = plan.resolved()
    oil = {"type": "shop:Oil", "colour": "red", "layers": 1}
    assert resolved == {"type": "shop:Brush", "width": 3, "paint": oil, "hairs": 1.0}
    assert check(resolved, Any, "model").resolved() == resolved


def test_defaults_that_are_factories_or_dataclasses_are_resolved_too(shop):
    for each in (Oil, Clock):
        each.__module__ = "shop"
    resolved = check({"type": "shop:Shop"}, Any, "model").resolved()
    assert resolved == {
        "type": "shop:Shop",
        "clock": {"hour": 8, "minute": 0},
        "paint": {"type": "shop:Oil", "colour": "green", "layers": 1},
    }
    again = check(resolved, Any, "model")
    assert again.resolved() == resolved
    assert again.build().paint(layers=5).layers == 5


def test_default_without_recipe_form_is_left_out(shop):
    exec("def odd(a=object(), b=lambda: 1, c=(1, 2), d: tuple = (1, 2)): return a", vars(shop))
    assert check({"type": "shop:odd"}, Any, "model").resolved() == {"type": "shop:odd", "d": [1, 2]}


@pytest.mark.parametrize("name", ["AdamW", "SGD", "Adam", "RMSprop"])
def test_torch_optimizers_are_built_by_import_path(name):
    torch = pytest.importorskip("torch")
    factory = built({"type": f"torch.optim:{name}", "lr": 1}, Factory[torch.optim.Optimizer])
    optimizer = factory(params=[torch.nn.Parameter(torch.zeros(1))], classes=["ignored"])
    assert optimizer.param_groups[0]["lr"] == 1.0
    assert message({"type": f"torch.optim:{name}", "lr": "x"}, Factory[Any]).startswith("model.lr: must be a number")


@pytest.mark.parametrize(
    "arguments",
    [
        {"type": "RandomHorizontalFlip", "p": 0.5},
        {"type": "Resize", "size": [4, 5]},
        {"type": "Resize", "size": 7, "interpolation": "nearest", "antialias": True},
        {"type": "RandomAffine", "degrees": 10, "fill": 3},
        {"type": "ColorJitter", "brightness": 0.2, "hue": [-0.1, 0.1]},
        {"type": "RandomApply", "transforms": [{"type": "torchvision.transforms.v2:Grayscale"}]},
    ],
    ids=lambda arguments: arguments["type"],
)
def test_torchvision_transforms_are_built_by_import_path(arguments):
    pytest.importorskip("torchvision")
    node = {**arguments, "type": f"torchvision.transforms.v2:{arguments['type']}"}
    plan = check(node, Any, "model")
    assert type(plan.build()).__name__ == arguments["type"]
    assert check(plan.resolved(), Any, "model").resolved() == plan.resolved()
