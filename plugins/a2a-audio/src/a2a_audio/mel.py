"""The mel filter bank: triangles on Slaney's mel scale, each of unit area (Auditory Toolbox, 1998; what Whisper uses)."""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HERTZ_PER_MEL = 200 / 3
BREAK_HERTZ = 1000.0
BREAK_MEL = BREAK_HERTZ / HERTZ_PER_MEL
MEL_PER_LOG = 27 / log(6.4)
"""Below 1 kHz the scale is linear; above, 27 mel are a factor of 6.4."""


def hertz_to_mel(hertz: float) -> float:
    """Slaney's scale."""
    return hertz / HERTZ_PER_MEL if hertz < BREAK_HERTZ else BREAK_MEL + MEL_PER_LOG * log(hertz / BREAK_HERTZ)


def mel_to_hertz(mel: float) -> float:
    """The inverse of `hertz_to_mel`."""
    return mel * HERTZ_PER_MEL if mel < BREAK_MEL else BREAK_HERTZ * exp((mel - BREAK_MEL) / MEL_PER_LOG)


def mel_edges(num_mels: int, sample_rate: int) -> list[float]:
    """Hz, num_mels + 2 of them: filter i rises from edge i to edge i + 1 and falls to edge i + 2."""
    top = hertz_to_mel(sample_rate / 2)
    return [mel_to_hertz(top * index / (num_mels + 1)) for index in range(num_mels + 2)]


def empty_filters(num_mels: int, n_fft: int, sample_rate: int) -> list[int]:
    """Filters too narrow to hold any frequency of the Fourier transform: their output would be silence for every sound."""
    edges, step = mel_edges(num_mels, sample_rate), sample_rate / n_fft
    return [index for index in range(num_mels) if (edges[index] // step + 1) * step >= edges[index + 2]]


def mel_filter_bank(num_mels: int, n_fft: int, sample_rate: int) -> NDArray[np.float64]:
    """Weights (n_fft // 2 + 1, num_mels), power spectrum -> mel spectrum, in float64."""
    import numpy as np

    edges = np.array(mel_edges(num_mels, sample_rate))
    frequencies = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
    bank: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) * (2 / (high - low))
    return bank
