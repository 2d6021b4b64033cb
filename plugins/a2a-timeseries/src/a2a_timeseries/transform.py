"""The Fourier transform of what was measured in a window, at its real times."""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.typing import NDArray

from a2a_timeseries.reading import Floats


def transform(groups: NDArray[np.int64], phases: Floats, values: Floats, num_groups: int, size: int) -> Floats:
    """Coefficients (num_groups, 2, size) of M measurements, of the values and of where they are.

    A group is a channel in a window, a phase the place in the window, from 0 to 1. With b_0(p) = 1, sqrt(2) cos(2 pi k p) and
    sqrt(2) sin(2 pi k p) for 0 < k < size / 2, and cos(pi size p) if size is even, the coefficients of a group are

        sqrt(size) mean_i b(p_i) v_i    of its values; orthonormal for p_i = i / size, i < size
        mean_i b(p_i)                   of where they are; but log(1 + n) / log(1 + size) for b_0, of how many they are

    and 0 for a group without a value.
    """
    order = np.argsort(groups, kind="stable")
    groups, waves = groups[order], basis(phases[order], size)
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    count = np.diff(starts, append=len(groups))
    found, at = np.zeros((num_groups, 2, size)), groups[starts]
    found[at, 0] = (np.add.reduceat(waves * values[order], starts, axis=1) / count).T * size**0.5
    found[at, 1] = (np.add.reduceat(waves, starts, axis=1) / count).T
    found[at, 1, 0] = np.log1p(count) / np.log1p(size)
    return found


def basis(phases: Floats, size: int) -> Floats:
    """Phases (M,) to (size, M): the functions b, cosines before sines. Long rows are summed ten times as fast as columns."""
    turned = np.cumprod(np.broadcast_to(np.exp(2j * pi * phases), (size // 2, len(phases))), axis=0)
    both = (size - 1) // 2  # harmonics with a cosine and a sine
    return np.concatenate(
        [np.ones((1, len(phases))), turned[:both].real * 2**0.5, turned[both:].real, turned[:both].imag * 2**0.5]
    )
