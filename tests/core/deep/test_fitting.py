from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_core.deep.fakes import Fakes
from a2a_core.deep.fitting import advised, divisor, largest, settled
from a2a_core.deep.ledger import Ledger
from a2a_core.deep.report import Fitting
from a2a_core.deep.scaling import Traces
from a2a_core.deep.tracing import Trace

AMOUNT = st.integers(0, 10**9)
FAKES = Fakes("cpu")


@given(base=AMOUNT, slope=st.integers(1, 10**6), limit=AMOUNT)
def test_the_most_rows_are_found(base: int, slope: int, limit: int) -> None:
    found = largest(lambda several: base + slope * several, limit, 10**6)
    assert found == min(max(0, (limit - base) // slope), 10**6)


def traces(make: Callable[[int], list[torch.Tensor]]) -> Traces:
    """Of something that makes tensors."""

    def run(rows: int) -> Trace:
        with FAKES.mode, Ledger([]) as ledger:
            make(rows)
        return Trace(rows, 0, ledger.moments, ledger.peaks, {}, {}, {}, (), ())

    return Traces(run)


def most(found: Traces, room: int) -> int:
    return settled(lambda _, rows: found.reckoned(rows).peaks.first, found, room)["single"]


CASES: dict[str, Any] = {
    "a line": (lambda rows: [torch.zeros(rows, 256)], lambda rows: 1024 * rows, 2),
    "two lines": (lambda rows: [torch.zeros(rows, 256), torch.zeros(2**18)], lambda rows: 1024 * rows + 2**20, 2),
    "a square": (lambda rows: [torch.zeros(rows, 256), torch.zeros(rows, rows)], lambda rows: 1024 * rows + 4 * rows**2, 3),
}


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=20)
@given(rows=st.integers(1, 4000))
def test_few_traces_are_enough(name: str, rows: int) -> None:
    make, takes, traced = CASES[name]
    found = traces(make)
    assert most(found, takes(rows)) == rows
    assert most(found, takes(rows) - 1) == rows - 1
    assert len(found.known()) <= traced + 4, "and two for each answer"


@pytest.mark.parametrize("room", [10, 100, 3_000, 100_000])
def test_where_other_sizes_do_other_things_what_was_measured_is_the_answer(room: int) -> None:
    def jumps(rows: int) -> list[torch.Tensor]:
        return [torch.zeros(64) for _ in range(min(rows // 8, 40))] + [torch.zeros(rows, 4)]

    found = traces(jumps)
    rows = most(found, room)
    assert found(max(1, rows)).peaks.first <= room or rows == 0
    if found(1).peaks.first <= room:
        assert rows >= 1


def fitting(backend: str, rows: int, ranks: int = 1, installed: bool = True) -> Fitting:
    return Fitting(backend, ranks, rows, 0, installed)


def test_the_simplest_backend_is_advised_with_rows_that_divide_the_step() -> None:
    every = [fitting("single", 7), fitting("ddp", 9, 8)]
    assert advised(every, 32)[0] == {"backend.use": "single", "trainer.micro_batch": 4}
    settings, _ = advised([fitting("single", 0), *every[1:]], 32)
    assert settings == {"backend.use": "ddp", "trainer.micro_batch": 4, "backend.processes": 8}


def test_what_is_advised_is_what_a_recipe_says() -> None:
    settings, _ = advised([fitting("single", 0), fitting("zero-3", 4, 8)], 32)
    assert settings == {"backend.use": "deepspeed", "backend.stage": 3, "trainer.micro_batch": 4, "backend.processes": 8}


def test_what_is_not_installed_is_named_and_not_advised() -> None:
    settings, advice = advised([fitting("single", 0), fitting("zero-3", 4, 8, installed=False)], 32)
    assert settings == {}
    assert "only `zero-3` fits" in advice
    assert "nothing fits" in advised([fitting("single", 0)], 32)[1]


@given(share=st.integers(1, 4096), most=st.integers(1, 4096))
def test_a_divisor_divides(share: int, most: int) -> None:
    found = divisor(share, most)
    assert share % found == 0
    assert found <= most
