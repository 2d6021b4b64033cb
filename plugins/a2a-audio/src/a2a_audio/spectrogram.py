"""Samples to mel spectrum, the fastest way that one thread of torch allows, with the numbers of `torch.stft`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from a2a_audio.mel import mel_filter_bank

if TYPE_CHECKING:
    from a2a_audio.reading import Samples

FILTERS = 16
"""Mel filters in one product: fewer than all, because each is zero for most frequencies; 16 was the fastest (Whisper's 80)."""
FRAMES = 512
"""Frames at a time: what lies in between (0.8 MB of Whisper's) stays in the second-level cache, however long the sound."""
POWER_FLOOR = 1e-10
DYNAMIC_RANGE = 1e-8


class _Band(NamedTuple):
    """Neighbouring filters, the columns of the squares that they see, and their weights (columns, filters)."""

    filter: int
    filters: int
    column: int
    columns: int
    weights: Tensor


class MelSpectrogram:
    """The log-mel front end of Whisper (arXiv 2212.04356, section 2.2) for any rate, window and number of filters.

    A frame every `hop` samples, its Hann window centred on the sample; the sound is mirrored at its start and followed by
    silence. Only frames that are asked for are computed. The power spectrum is never formed: the squares of real and
    imaginary parts go through a filter bank that has each row twice.
    """

    def __init__(self, sample_rate: int, num_mels: int, n_fft: int, window: int, hop: int) -> None:
        self.n_fft, self.hop, self.num_mels = n_fft, hop, num_mels
        before = (n_fft - window) // 2
        self.window = torch.nn.functional.pad(torch.hann_window(window), (before, n_fft - window - before))
        self.bands = _bands(torch.from_numpy(mel_filter_bank(num_mels, n_fft, sample_rate)).float())

    def frames(self, samples: int) -> int:
        """Frames whose centre lies in a sound of so many samples."""
        return -(-samples // self.hop)

    def touched(self, samples: int) -> int:
        """Frames whose window reaches into a sound of so many samples; all later ones are silent."""
        return -(-(samples + self.n_fft // 2) // self.hop)

    @torch.no_grad()
    def power(self, samples: Samples, frames: int, end: int | None = None) -> Tensor:
        """Mel power (frames, num_mels) of float32 samples (n,); at `end`, if given, the signal is mirrored too."""
        signal = torch.from_numpy(self._extended(samples, frames, end))
        mel = torch.empty(frames, self.num_mels)
        for start in range(0, frames, FRAMES):
            part = mel[start : start + FRAMES]
            windows = signal.as_strided((len(part), self.n_fft), (self.hop, 1), start * self.hop) * self.window
            squares = torch.fft.rfft(windows).view(torch.float32)
            squares.mul_(squares)
            for band in self.bands:
                seen = squares.narrow(1, band.column, band.columns)
                torch.mm(seen, band.weights, out=part.narrow(1, band.filter, band.filters))
        return mel

    def _extended(self, samples: Samples, frames: int, end: int | None) -> Samples:
        """The signal from half a window before sample 0 to the end of the last frame."""
        half = self.n_fft // 2
        signal = np.empty(max((frames - 1) * self.hop + self.n_fft, 2 * half + 1), np.float32)
        known = samples[: len(signal) - half]
        signal[half : half + len(known)] = known
        signal[half + len(known) :] = 0
        signal[:half] = signal[2 * half : half : -1]
        beyond = len(signal) - half - end if end is not None else 0
        if beyond > 0:
            signal[-beyond:] = signal[-2 * beyond - 1 : -beyond - 1][::-1]
        return signal


def log10(power: Tensor) -> Tensor:
    """In place: log10 of power, of at least 1e-10 and at least 80 dB below the loudest, so that nothing is minus infinity."""
    floor = max(float(power.numpy().max()) * DYNAMIC_RANGE, POWER_FLOOR)
    return power.clamp_(min=floor).log10_()


def _bands(bank: Tensor) -> list[_Band]:
    """The filter bank (frequencies, filters) as products over the frequencies that each sixteen filters see."""
    bands = []
    for start in range(0, bank.shape[1], FILTERS):
        filters = bank[:, start : start + FILTERS]
        seen = filters.any(1).nonzero().flatten()
        low, high = int(seen[0]), int(seen[-1]) + 1
        weights = filters[low:high].repeat_interleave(2, 0).contiguous()
        bands.append(_Band(start, filters.shape[1], 2 * low, len(weights), weights))
    return bands
