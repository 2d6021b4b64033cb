"""What is frozen, and what is said of patterns that fit nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from a2a_core import A2AError
from a2a_peft.freeze import FreezeAdapter
from a2a_peft.patterns import chosen, near


def model() -> nn.Module:
    return nn.ModuleDict({key: nn.ModuleDict({"first": nn.Linear(2, 2), "second": nn.LayerNorm(2)}) for key in ("a", "b")})


def frozen(*match: str, but: tuple[str, ...] = ()) -> set[str]:
    made = model()
    FreezeAdapter(match=match, but=but).apply(made)
    return {name for name, parameter in made.named_parameters() if not parameter.requires_grad}


def test_patterns_of_names() -> None:
    assert frozen("a.*") == {"a.first.weight", "a.first.bias", "a.second.weight", "a.second.bias"}
    assert frozen("bias") == {"a.first.bias", "a.second.bias", "b.first.bias", "b.second.bias"}
    assert frozen("first.*", but=("b.*", "weight")) == {"a.first.bias"}


@given(st.sets(st.sampled_from([name for name, _ in model().named_parameters()]), min_size=1))
def test_names_freeze_themselves(names: set[str]) -> None:
    assert frozen(*names) == names


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"match": ("c.*",)}, r"`c.\*` fits no parameter"),
        ({"match": ("wieght",)}, "did you mean `weight`"),
        ({"match": ("a.*",), "but": ("c",)}, "`c` fits no parameter"),
        ({"match": ("a.first.*",), "but": ("a.*",)}, "freezes nothing"),
    ],
)
def test_what_fits_nothing(options: dict[str, tuple[str, ...]], says: str) -> None:
    with pytest.raises(A2AError, match=f"(?s){says}"):
        FreezeAdapter(**options).apply(model())


LAYERS = [f"text.layers.{layer}.attention.{name}.weight" for layer in range(20) for name in ("q_proj", "k_proj")]


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("q_prj.*", "did you mean `q_proj.*`?"),
        ("layers.3.atention.*", "did you mean `layers.*.attention.*`?"),
        ("text.layrs.*", "did you mean `text.layers.*`?"),
        ("layers.*.attention.q_prog.weight", "did you mean `layers.*.attention.q_proj.weight`?"),
        ("mlp", "there is `weight`"),
    ],
)
def test_what_was_meant(pattern: str, hint: str) -> None:
    """Layers are not told apart, and what is suggested fits."""
    assert near(pattern, LAYERS) == hint
    if "mean" in hint:
        assert chosen([hint.split("`")[1]], dict(zip(LAYERS, LAYERS, strict=True)), "parameter")


def test_no_pattern() -> None:
    with pytest.raises(ValueError, match="names no parameter"):
        FreezeAdapter(match=())


def test_until_a_step() -> None:
    """Trainers read when; the graph stays as it is."""
    made: Any = model()
    FreezeAdapter(match=("a.*",), but=("bias",), until=0.5).apply(made)
    FreezeAdapter(match=("b.second.*",), until=7).apply(made)
    assert made.thaws == {"a.first.weight": 0.5, "a.second.weight": 0.5, "b.second.weight": 7, "b.second.bias": 7}
    assert all(parameter.requires_grad for parameter in made.parameters())
    made.a.requires_grad_(False)
    with pytest.raises(A2AError, match="frozen already"):
        FreezeAdapter(match=("a.*",), until=3).apply(made)
