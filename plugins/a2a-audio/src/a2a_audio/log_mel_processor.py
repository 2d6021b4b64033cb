"""Sound to log-mel frames, for the `log-mel` encoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from a2a_core.structures import Item

if TYPE_CHECKING:
    from torch import Tensor

    from a2a_audio.opening import Samples
    from a2a_audio.reading import SoundReader
    from a2a_audio.spectrogram import MelSpectrogram

Normalize = Literal["sound", "fixed"]


def tokens(frames: int) -> int:
    """Tokens of so many frames: two convolutions of stride 2, each rounding up."""
    return -(-frames // 4)


class LogMelProcessor:
    """Sound -> Item with `features` (frames, channels * num_mels); a sound shorter than one window is continued by silence."""

    deterministic = True

    def __init__(self, reader: SoundReader, num_mels: int, n_fft: int, window: int, hop: int, normalize: Normalize) -> None:
        self.reader, self.normalize = reader, normalize
        self.num_mels, self.n_fft, self.window, self.hop = num_mels, n_fft, window, hop

    @cached_property
    def _spectrogram(self) -> MelSpectrogram:
        from a2a_audio.spectrogram import MelSpectrogram

        return MelSpectrogram(self.reader.sample_rate, self.num_mels, self.n_fft, self.window, self.hop)

    def __call__(self, raw: Any) -> Item | None:
        """Read, cut, resample, transform, normalise."""
        samples = self.reader(raw)
        return None if samples is None else self._item(samples)

    def _item(self, samples: Samples) -> Item:
        import torch

        from a2a_audio.spectrogram import log10

        frames = self._spectrogram.frames(max(samples.shape[1], self.window))
        power = torch.cat([self._spectrogram.power(channel, frames) for channel in samples], dim=1)
        return Item({"features": self._normalized(log10(power))}, tokens(frames))

    def _normalized(self, features: Tensor) -> Tensor:
        if self.normalize == "fixed":
            return features.add_(4).div_(4)
        return features.sub_(features.mean()).div_(features.std(correction=0).add_(1e-5))

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """`features` (N, T, channels * num_mels), zero after each sound's end, and `frames` (N,), how many are real."""
        import torch

        features = [item.tensors["features"] for item in items]
        return {
            "features": torch.nn.utils.rnn.pad_sequence(features, batch_first=True),
            "frames": torch.tensor([len(each) for each in features]),
        }

    def dummy(self) -> Item:
        """One window of silence."""
        import numpy as np

        return self._item(np.zeros((2 if self.reader.channels == "stereo" else 1, self.window), np.float32))
