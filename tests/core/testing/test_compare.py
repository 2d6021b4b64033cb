"""Tensors taken apart, changed and compared; randomness that leaves no trace."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from a2a_core import Fused, Tokens
from a2a_core.testing.check import CheckFailed
from a2a_core.testing.compare import enlivened, finite, mapped, same, seeded, tensors, weighted_sum


def compare(one: list[float], other: list[float], tolerance: float = 1e-4) -> None:
    same("it differs", torch.tensor(one), torch.tensor(other), "this", "that", tolerance)


def test_rounding_is_no_difference_and_the_scale_is_the_largest_value() -> None:
    compare([1.0, 100.0], [1.005, 100.0])
    compare([0.0], [1e-8])
    with pytest.raises(CheckFailed, match=r"largest difference is 0\.02 \(at \[0\]\); 0\.01 is rounding"):
        compare([1.0, 100.0], [1.02, 100.0])
    with pytest.raises(CheckFailed, match="they must be equal"):
        compare([1.0], [1.0 + 2e-7], tolerance=0)


@pytest.mark.parametrize(("one", "other"), [([1.0], [float("nan")]), ([float("nan")], [float("nan")]), ([1.0], [float("inf")])])
def test_nan_and_infinity_agree_with_nothing(one: list[float], other: list[float]) -> None:
    with pytest.raises(CheckFailed):
        compare(one, other)


def test_another_shape_is_a_difference() -> None:
    with pytest.raises(CheckFailed, match=r"shape \(1,\) against \(2,\)"):
        compare([1.0], [1.0, 1.0])


def test_randomness_is_put_back() -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    drawn = []
    for _ in range(2):
        with seeded(5):
            drawn.append((float(torch.rand(())), random.random(), float(np.random.rand())))
    assert drawn[0] == drawn[1]
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert (before[2] == np.random.get_state()[1]).all()


def test_tensors_have_dotted_names_and_padding_counts_as_nothing() -> None:
    tokens = Tokens(torch.tensor([[[1.0], [float("nan")]]]), torch.tensor([[True, False]]))
    found = tensors({"fused": Fused(1, tokens, torch.ones(1, 2)), "list": [torch.zeros(1)]})
    assert set(found) == {"fused.tokens.values", "fused.tokens.mask", "fused.pooled", "list.0"}
    assert found["fused.tokens.values"].tolist() == [[[1.0], [0.0]]]
    assert finite(found)


def test_structures_stay_what_they_are() -> None:
    made = mapped(
        {"a": (torch.ones(1), [torch.ones(1)]), "b": Tokens(torch.ones(1, 1, 1), torch.ones(1, 1)), "c": 3}, lambda x: x + 1
    )
    assert isinstance(made["b"], Tokens)
    assert made["a"][1][0].item() == 2
    assert made["c"] == 3


def test_no_gradient_cancels() -> None:
    layer, norm = nn.Linear(4, 8), nn.LayerNorm(8)
    torch.autograd.backward(weighted_sum(norm(layer(torch.randn(3, 4)))))
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().max() > 1e-3


def test_what_starts_at_zero_comes_to_life() -> None:
    layer = nn.Linear(4, 8)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    first = enlivened(layer)(torch.ones(1, 4)).detach()
    assert first.abs().min() > 0
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    assert torch.equal(enlivened(layer)(torch.ones(1, 4)), first)
