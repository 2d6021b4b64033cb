"""Encoders that share weights in a model: one module, run for each, saved once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from a2a_core import Row
from a2a_core.builtin.pad import PadCollator
from a2a_core.data import absent, collator, prepare, unread
from a2a_core.inference import Lines
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts

ROWS = [{"left": [1.0, 2.0], "right": [0.5], "value": 1.0}, {"right": [1.0, 2.0], "value": 2.0}]


@pytest.fixture
def parts(toy_parts: Callable[..., Parts]) -> Parts:
    return toy_parts(
        encoders={"left": {"use": "reference", "width": 8}, "right": {"use": "reference", "width": 8, "like": "left"}}
    )


def batch(parts: Parts) -> dict:
    data = prepare(Lines([Row(each, str(place), Path(), "") for place, each in enumerate(ROWS)]), parts)
    return collator(PadCollator(), parts)([data[0], data[1]])


def test_one_module_and_one_projector_for_both(parts: Parts) -> None:
    model = A2AModel.from_parts(parts).eval()
    assert set(model.encoders) == set(model.projectors) == {"left"}
    inputs = batch(parts)["inputs"]
    encoded, anchor = model.encode(inputs)
    assert set(encoded) == {"left", "right"}
    torch.testing.assert_close(encoded["left"].values[0], encoded["right"].values[1])  # the same numbers
    assert anchor.item() == 0
    weights = list(model.encoders["left"].parameters())
    left, right = (torch.autograd.grad(encoded[key].values.sum(), weights, retain_graph=True) for key in ("left", "right"))
    sum(tokens.values.sum() for tokens in encoded.values()).backward()
    for weight, one, other in zip(weights, left, right, strict=True):
        assert one.abs().sum() > 0
        torch.testing.assert_close(weight.grad, one + other)


def test_weights_are_saved_once(parts: Parts, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = A2AModel.from_parts(parts).eval()
    model.save_pretrained(tmp_path)
    again = A2AModel.from_pretrained(tmp_path).eval()
    assert not any("right" in name for name in again.state_dict())
    inputs = batch(parts)["inputs"]
    torch.testing.assert_close(again(inputs).outputs, model(inputs).outputs)


def test_a_frozen_owner_freezes_both(toy_parts: Callable[..., Parts]) -> None:
    frozen = {"use": "reference", "freeze": True}
    model = A2AModel.from_parts(toy_parts(encoders={"left": frozen, "right": frozen | {"like": "left"}}))
    assert not any(each.requires_grad for each in model.encoders.parameters())


def test_an_optional_field_may_be_missing(toy_parts: Callable[..., Parts]) -> None:
    rows = Lines([Row({"left": [1.0]}, "0", Path(), "")])
    named = {"left": {"use": "reference"}, "right": {"use": "reference"}}
    assert absent(rows, toy_parts(encoders=named)) != []
    assert absent(rows, toy_parts(encoders=named | {"right": {"use": "reference", "optional": True}})) == []


def test_an_optional_field_that_no_row_has_is_told(toy_parts: Callable[..., Parts]) -> None:
    named = {"left": {"use": "reference"}, "right": {"use": "reference", "field": "rihgt", "optional": True}}
    (told,) = unread(Lines([Row({"left": [1.0], "right": [2.0]}, "0", Path(), "")]), toy_parts(encoders=named))
    assert told == "no row of `train` has field `rihgt`, which encoder `right` reads where there is one"
    assert unread(Lines([Row({"rihgt": [1.0]}, "0", Path(), "")]), toy_parts(encoders=named)) == []
