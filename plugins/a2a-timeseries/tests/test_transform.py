import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_timeseries.transform import basis, transform


def functions(size, phase):
    """The functions b of the docstring, one by one."""
    found = [1.0]
    found += [math.sqrt(2) * math.cos(2 * math.pi * k * phase) for k in range(1, (size + 1) // 2)]
    found += [math.cos(math.pi * size * phase)] if size % 2 == 0 else []
    return found + [math.sqrt(2) * math.sin(2 * math.pi * k * phase) for k in range(1, (size + 1) // 2)]


def by_hand(groups, phases, values, num_groups, size):
    found = np.zeros((num_groups, 2, size))
    for group in range(num_groups):
        inside = [place for place in range(len(groups)) if groups[place] == group]
        for place in inside:
            waves = np.array(functions(size, phases[place]))
            found[group, 0] += math.sqrt(size) * waves * values[place] / len(inside)
            found[group, 1] += waves / len(inside)
        if inside:
            found[group, 1, 0] = math.log(1 + len(inside)) / math.log(1 + size)
    return found


measured = st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1, exclude_max=True), st.floats(-9, 9)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(measured, st.integers(1, 9))
def test_it_is_the_formula(measured, size):
    groups, phases, values = (np.array(each) for each in zip(*measured, strict=True))
    assert transform(groups, phases, values, 6, size) == pytest.approx(by_hand(groups, phases, values, 6, size), abs=1e-11)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 16, 64])
def test_on_a_regular_grid_it_is_orthonormal_and_says_that_all_is_there(size):
    phases = np.arange(size) / size
    waves = basis(phases, size) / math.sqrt(size)
    assert waves @ waves.T == pytest.approx(np.eye(size), abs=1e-12)
    values = np.random.default_rng(0).normal(size=size)
    found = transform(np.zeros(size, np.int64), phases, values, 1, size)[0]
    assert waves.T @ found[0] == pytest.approx(values)  # nothing is lost
    assert found[1] == pytest.approx(np.eye(size)[0], abs=1e-12)


def test_on_a_regular_grid_it_is_the_real_fourier_transform_of_numpy():
    values = np.random.default_rng(0).normal(size=8)
    found = transform(np.zeros(8, np.int64), np.arange(8) / 8, values, 1, 8)[0, 0]
    wanted = np.fft.rfft(values, norm="ortho")
    assert found[1:4] == pytest.approx(wanted.real[1:4] * math.sqrt(2))
    assert found[5:] == pytest.approx(-wanted.imag[1:4] * math.sqrt(2))
    assert found[[0, 4]] == pytest.approx(wanted.real[[0, 4]])


def test_a_wave_has_its_coefficient_however_densely_it_is_sampled():
    random = np.random.default_rng(0)
    found = []
    for count in (2000, 20000):
        phases = random.random(count)
        found.append(transform(np.zeros(count, np.int64), phases, np.cos(4 * np.pi * phases), 1, 8)[0, 0])
        assert found[-1] == pytest.approx(np.eye(8)[2] * 2, abs=0.15)
