from hypothesis import given
from hypothesis import strategies as st

from a2a_core.deep.fitting import advised, divisor, largest
from a2a_core.deep.report import Fitting

AMOUNT = st.integers(0, 10**9)


@given(base=AMOUNT, slope=st.integers(1, 10**6), rows=st.integers(1, 512), limit=AMOUNT)
def test_of_a_straight_line_the_most_rows_are_found(base: int, slope: int, rows: int, limit: int) -> None:
    found = largest(lambda several: base + slope * several, limit, (rows, 2 * rows), 10**6)
    most = min(max(0, (limit - base) // slope), 10**6)
    assert most - most // 64 - 1 < found <= most


@given(flat=AMOUNT, slope=st.integers(1, 10**6), rows=st.integers(1, 64), limit=AMOUNT)
def test_a_corner_leads_nobody_astray(flat: int, slope: int, rows: int, limit: int) -> None:
    """Few rows take what the optimizer takes, however few they are."""
    found = largest(lambda several: max(flat, slope * several), limit, (rows, 2 * rows), 10**6)
    most = min(limit // slope, 10**6) if flat <= limit else 0
    assert most - most // 32 - 1 < found <= most


@given(
    base=AMOUNT,
    slope=st.integers(1, 10**6),
    step=st.integers(0, 10**6),
    every=st.integers(1, 64),
    rows=st.integers(1, 512),
    limit=AMOUNT,
)
def test_with_jumps_the_answer_fits_all_the_same(base: int, slope: int, step: int, every: int, rows: int, limit: int) -> None:
    def peak(several: int) -> int:
        return base + slope * several + step * (several // every)

    found = largest(peak, limit, (rows, 2 * rows), 10**6)
    assert found == 0 or peak(found) <= limit
    if peak(1) > limit:
        assert found == 0


def fitting(backend: str, rows: int, ranks: int = 1, installed: bool = True) -> Fitting:
    return Fitting(backend, ranks, rows, 0, installed)


def test_the_simplest_backend_is_advised_with_rows_that_divide_the_step() -> None:
    every = [fitting("single", 7), fitting("ddp", 9, 8)]
    assert advised(every, 32)[0] == {"backend.use": "single", "trainer.micro_batch": 4}
    settings, _ = advised([fitting("single", 0), *every[1:]], 32)
    assert settings == {"backend.use": "ddp", "trainer.micro_batch": 4, "backend.processes": 8}


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
