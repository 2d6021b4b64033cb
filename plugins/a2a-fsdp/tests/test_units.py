"""Which modules gather together, and what is never divided."""

import divided_toy as toy
import pytest
from torch import nn

from a2a_core.model import A2AModel
from a2a_fsdp.units import divided


def named(model: A2AModel, frozen: bool = False) -> tuple[list[str], set[str]]:
    """Units and whole parameters."""
    names = {module: name for name, module in model.named_modules()}
    found = divided(model, frozen)
    whole = {name for name, each in model.named_parameters() if each in found.whole}
    return [names[unit] for unit in found.modules], whole


@pytest.fixture
def model() -> A2AModel:
    return toy.built()


LEFT = ["encoders.left.layers.0", "encoders.left.layers.1.second", "encoders.left.layers.1", "encoders.left.layers.2"]


def test_parts_and_their_layers_gather(model: A2AModel) -> None:
    """The fusion's rest is the model's; a module in another precision gathers alone; frozen parameters and numbers stay whole."""
    units, whole = named(model)
    assert units == [*LEFT, "encoders.left", "heads.number", ""]
    frozen = {name for name, each in model.named_parameters() if not each.requires_grad}
    assert whole == frozen | {"losses.fit.scale"}
    assert all(name.startswith("encoders.right.") for name in frozen)


def test_frozen_ones_are_divided_on_demand(model: A2AModel) -> None:
    """There, precisions may differ: no gradients are exchanged."""
    units, whole = named(model, frozen=True)
    right = [name.replace("left", "right") for name in LEFT if not name.endswith("second")]
    assert units == [*LEFT, "encoders.left", *right, "encoders.right", "heads.number", ""]
    assert whole == {"losses.fit.scale"}


def test_what_two_units_share_stays_whole(model: A2AModel) -> None:
    layers = model.encoders["left"].layers
    layers[0].first.weight = layers[2].first.weight
    units, whole = named(model)
    assert units == [*LEFT, "encoders.left", "heads.number", ""]
    assert {"encoders.left.layers.0.first.weight"} == {name for name in whole if "left" in name}


def test_what_one_unit_shares_is_divided(model: A2AModel) -> None:
    """As an output layer is tied to its embedding."""
    model.fusion.extra = nn.Linear(toy.WIDTH, toy.WIDTH)
    model.fusion.extra.weight = model.fusion.linear.weight
    assert named(model)[1] == named(toy.built())[1]


def test_a_module_of_two_precisions_keeps_the_rarer_whole(model: A2AModel) -> None:
    linear = model.heads["number"].linear
    linear.bias.data = linear.bias.data.double()
    units, whole = named(model)
    assert "heads.number.linear" not in units
    assert "heads.number.linear.bias" in whole


def test_a_list_of_leaves_is_no_list_of_layers(model: A2AModel) -> None:
    """Their weights may be used without calling them."""
    model.encoders["left"].tables = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    assert named(model)[0] == [*LEFT, "encoders.left", "heads.number", ""]


def test_modules_of_another_precision_gather_together(model: A2AModel) -> None:
    """Not their modules, too; lists do not compute, and losses are the model's, or whole."""
    model.fusion.extra = nn.ModuleList([nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).bfloat16()])
    model.losses["fit"].inner = nn.Linear(2, 2).bfloat16()
    units, whole = named(model)
    assert units == [*LEFT, "encoders.left", "heads.number", "fusion.extra.0", ""]
    assert {name for name in whole if "inner" in name} == {"losses.fit.inner.weight", "losses.fit.inner.bias"}


def test_lists_of_lists_are_looked_into(model: A2AModel) -> None:
    model.fusion.extra = nn.ModuleList([nn.ModuleList([toy.Block(2), toy.Block(2)]), nn.ModuleList([toy.Block(2)] * 2)])
    assert named(model)[0] == [*LEFT, "encoders.left", "heads.number", "fusion.extra.0.0", "fusion.extra.0.1", ""]
