"""Formulas, against the table of the ZeRO paper (arXiv 1910.02054, figure 1)."""

from typing import Any

import pytest
import torch

from a2a_core.deep.ledger import Peaks
from a2a_core.deep.memory import BACKENDS, Measured, Sizes, memory
from a2a_core.deep.states import States
from a2a_core.deep.tracing import Trace
from a2a_core.structures import Plan

PSI = 7_500_000_000
"""Parameters of the paper's example; 64 ranks."""
SIZE = Sizes(trainable=4 * PSI, frozen=0, elements=PSI, unit=0, rest=0)
ADAM = States(kept=8 * PSI, passing=0)


@pytest.mark.parametrize(("backend", "gigabytes"), [("zero-1", 31.4), ("zero-2", 16.6), ("zero-3", 1.9)])
def test_model_states_are_those_of_the_paper(backend: str, gigabytes: float) -> None:
    need = BACKENDS[backend](SIZE, ADAM, 64, True)
    assert (need.weights + need.gradients + need.optimizer) / 1e9 == pytest.approx(gigabytes, abs=0.05)


def traced(rows: int = 4, **peaks: int) -> Trace:
    return Trace(rows, 10, torch.zeros(0, 3), Peaks(**peaks), {}, {}, {}, (), ())


def peak(found: Trace, backend: str = "single", passing: int = 0, **plan: Any) -> int:
    size = Sizes(trainable=100, frozen=50, elements=25, unit=40, rest=20)
    measured = Measured(size, States(200, passing), Plan(**plan))
    return memory(backend, 2, found, measured, True).peak


def test_gradients_are_made_while_activations_go_unless_they_are_there() -> None:
    found = traced(activations=1000, first=1020)
    held = 10 + 150 + 200
    assert peak(found, batch_size=4) == held + 1020
    assert peak(found, batch_size=8) == held + 1000 + 100, "gradients of the first half wait for the second"
    assert peak(found, "ddp", batch_size=8) == held + 100 + 1020, "two ranks take four rows each"


def test_the_optimizer_may_need_most() -> None:
    found = traced(activations=10, first=20)
    assert peak(found, batch_size=4, passing=70) == 10 + 150 + 200 + 100 + 70


def test_those_that_keep_half_weights_need_no_copies() -> None:
    found = traced(activations=1000, first=1000, activations_without_casts=900, first_without_casts=900)
    full, half = (peak(found, "zero-1", batch_size=16, precision=each) for each in ("float32", "bf16"))
    assert full - half == 100 + 150 // 2 + 100 // 2 + 25 * 2, "copies, weights, gradients, the bucket"
