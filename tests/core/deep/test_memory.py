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


@pytest.mark.parametrize(("backend", "whole"), [("zero-1", 4 + 4), ("zero-2", 4), ("zero-3", 0)])
def test_model_states_are_those_of_the_paper(backend: str, whole: int) -> None:
    """Bytes of a parameter that no rank gives away; of all others, 20 in all, it keeps a share. There weights are halves."""
    need = BACKENDS[backend](SIZE, ADAM, 64)
    held = need.weights + need.gradients + need.optimizer
    assert held == pytest.approx(PSI * (whole + (4 + 4 + 12 - whole) / 64))


def traced(rows: int = 4, **peaks: int) -> Trace:
    return Trace(rows, 10, torch.zeros(0, 2), Peaks(**peaks), {}, {}, {}, (), ())


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
