"""A model starts with another's weights: all of them, or what the recipe excepts by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from a2a_core import A2AError
from a2a_core.export import export
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts
from a2a_core.starting import folder_of, start_with


def built(parts: Parts, seed: int, path: Path | None = None, but: tuple[str, ...] = ()) -> A2AModel:
    torch.manual_seed(seed)
    return A2AModel.from_parts(parts, None if path is None else lambda model: start_with(model, path, but))


@pytest.fixture
def run(tmp_path: Path, toy_parts: Callable[..., Parts]) -> Path:
    (tmp_path / "run").mkdir()
    export(built(toy_parts(), 0), tmp_path / "run" / "model")
    return tmp_path / "run"


@pytest.mark.parametrize("place", ["run", "run/model"])
def test_every_tensor_is_the_other_model_s(toy_parts: Callable[..., Parts], run: Path, place: str) -> None:
    wanted = built(toy_parts(), 0).state_dict()
    found = built(toy_parts(), 1, run.parent / place).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in found.items())
    other = built(toy_parts(), 1).state_dict()
    assert any(not torch.equal(value, wanted[name]) for name, value in other.items())


def test_what_may_differ_is_named(toy_parts: Callable[..., Parts], run: Path) -> None:
    parts = toy_parts(heads={"other": {"use": "reference"}}, losses={"fit": {"use": "squared", "head": "other"}})
    with pytest.raises(A2AError) as caught:
        built(parts, 1, run)
    assert "lacks 2 tensor(s): heads.other.linear.weight, heads.other.linear.bias" in str(caught.value)
    assert "2 tensor(s): heads.number.linear.bias, heads.number.linear.weight" in str(caught.value)
    model = built(parts, 1, run, ("heads.*",))
    assert torch.equal(
        model.encoders["left"].state_dict()["linear.weight"], built(toy_parts(), 0).encoders["left"].linear.weight
    )
    assert torch.equal(model.heads["other"].linear.weight, built(parts, 1).heads["other"].linear.weight)


def test_another_shape_and_an_idle_pattern_are_errors(toy_parts: Callable[..., Parts], run: Path) -> None:
    parts = toy_parts(encoders={"left": {"use": "reference"}, "right": {"use": "reference", "width": 12}})
    with pytest.raises(A2AError, match=r"has the shape .*8.*, and the recipe's model .*12"):
        built(parts, 1, run)
    with pytest.raises(A2AError, match=r"`init_but` has `head.\*`, and no tensor fits it"):
        built(toy_parts(), 1, run, ("head.*",))
    with pytest.raises(A2AError, match="leaves nothing to start with"):
        built(toy_parts(), 1, run, ("*",))


def test_a_place_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(A2AError, match="there is no trained model at"):
        folder_of(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(A2AError, match="cannot be read"):
        start_with(torch.nn.Linear(2, 2), tmp_path, ())
