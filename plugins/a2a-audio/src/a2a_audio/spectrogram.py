"""Samples to mel spectrum, the fastest way that one thread of torch allows, with the numbers of `torch.stft`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from a2a_audio.mel import mel_filter_bank

FILTERS = 16
"""Mel filters in one product: fewer than all, because each is zero for most frequencies; 16 was the fastest (Whisper's 80)."""
FRAMES = 1024
"""Frames at a time: 1.6 MB of Whisper's, which stay in the second-level cache."""
POWER_FLOOR = 1e-10


class _Band(NamedTuple):
    """Neighbouring filters and the part of the spectrum that they see."""

    spectrum: slice
    filters: slice
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
    def log10(self, samples: Tensor, frames: int, end: int | None = None) -> Tensor:
        """Log10 mel power (frames, num_mels) of float32 samples (n,); at `end`, if given, the signal is mirrored too."""
        windows = self._extended(samples, frames, end).unfold(0, self.n_fft, self.hop)
        mel = samples.new_empty(frames, self.num_mels)
        for start in range(0, frames, FRAMES):
            chunk = slice(start, min(start + FRAMES, frames))
            squares = torch.view_as_real(torch.fft.rfft(windows[chunk] * self.window)).flatten(1)
            squares.mul_(squares)
            for band in self.bands:
                torch.mm(squares[:, band.spectrum], band.weights, out=mel[chunk, band.filters])
        return mel.clamp_(min=POWER_FLOOR).log10_()

    def _extended(self, samples: Tensor, frames: int, end: int | None) -> Tensor:
        """The signal from half a window before sample 0 to the end of the last frame."""
        half = self.n_fft // 2
        reach = max((frames - 1) * self.hop + self.n_fft - half, half + 1)
        beyond = max(0, reach - end) if end is not None else 0
        signal = torch.nn.functional.pad(samples[: reach - beyond], (0, max(0, reach - beyond - len(samples))))
        mirrored = signal[-1 - beyond : -1].flip(0) if beyond else signal[:0]
        return torch.cat([signal[1 : half + 1].flip(0), signal, mirrored])


def _bands(bank: Tensor) -> list[_Band]:
    """The filter bank (frequencies, filters) as products over the frequencies that each sixteen filters see."""
    bands = []
    for start in range(0, bank.shape[1], FILTERS):
        filters = slice(start, min(start + FILTERS, bank.shape[1]))
        seen = bank[:, filters].any(1).nonzero().flatten()
        low, high = int(seen[0]), int(seen[-1]) + 1
        weights = bank[low:high, filters].repeat_interleave(2, 0).contiguous()
        bands.append(_Band(slice(2 * low, 2 * high), filters, weights))
    return bands
