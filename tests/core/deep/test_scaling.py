"""Sizes that are reckoned, against the same sizes traced."""

from typing import Any

import pytest
import torch

from a2a_core.deep.scaling import Traces
from a2a_core.deep.tracing import trace
from a2a_core.structures import Plan

LONGEST = {"left": 3, "right": 1}


def of(toy: Any, **plan: Any) -> Traces:
    return Traces(lambda rows: trace(toy.fakes, toy.fake, toy.batch, rows, Plan(**plan), LONGEST))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_two_sizes_say_what_all_others_take(toy: Any, precision: Any) -> None:
    found, real = (of(toy, precision=precision) for _ in range(2))
    found(2), found(4)
    for rows in (6, 40, 2**20):
        reckoned, traced = found.reckoned(rows), real(rows)
        assert (reckoned.rows, reckoned.inputs, reckoned.peaks) == (rows, traced.inputs, traced.peaks)
        assert torch.equal(reckoned.moments, traced.moments)
    assert found.known() == [2, 4]


def test_the_peak_is_no_line_and_is_right_all_the_same(toy: Any) -> None:
    """With few rows it is where gradients are made, with many where activations are."""
    found = of(toy)
    found(2), found(4)
    peaks = [found.reckoned(rows).peaks.first for rows in (2, 4, 4000, 4002)]
    assert (peaks[3] - peaks[2]) > (peaks[1] - peaks[0])
    assert found.right(4002)


def test_what_grows_with_the_square_is_noticed(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that compares each row with all others."""
    loss = type(toy.fake.losses["fit"])
    forward = loss.forward

    def pairs(self: Any, outputs: Any, targets: Any) -> Any:
        values = outputs["values"]
        return {"squared": forward(self, outputs, targets)["squared"] + (values[:, None] - values).abs().sum()}

    monkeypatch.setattr(loss, "forward", pairs)
    found = of(toy)
    found(2), found(4)
    assert not found.right(2**12)
    assert found.right(2**11), "three sizes say it"
