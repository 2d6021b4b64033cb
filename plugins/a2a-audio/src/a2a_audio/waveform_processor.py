"""Sound to samples for Wav2Vec2 and its relatives: the numbers of transformers' Wav2Vec2FeatureExtractor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from a2a_core.structures import Item

if TYPE_CHECKING:
    from torch import Tensor

    from a2a_audio.reading import SoundReader

Convolutions = tuple[tuple[int, int], ...]
"""Kernel and stride of each, in order, without padding."""


def tokens(samples: int, convolutions: Convolutions) -> int:
    """Tokens of so many samples."""
    for kernel, stride in convolutions:
        samples = (samples - kernel) // stride + 1
    return samples


def reach(convolutions: Convolutions) -> int:
    """Samples that one token needs."""
    samples = 1
    for kernel, stride in reversed(convolutions):
        samples = (samples - 1) * stride + kernel
    return samples


class WaveformProcessor:
    """Sound -> Item with `input_values` (samples,), normalised, at least as many as one token needs."""

    deterministic = True

    def __init__(self, reader: SoundReader, normalize: bool, convolutions: Convolutions) -> None:
        self.reader, self.normalize = reader, normalize
        self.convolutions, self.shortest = convolutions, reach(convolutions)

    def __call__(self, raw: Any) -> Item | None:
        """Read, cut, resample, normalise, continue by zeros what is too short."""
        samples = self.reader(raw)
        return None if samples is None else self._item(samples[0])

    def _item(self, samples: Any) -> Item:
        import numpy as np
        import torch

        if self.normalize:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        samples = np.pad(samples, (0, max(0, self.shortest - len(samples))))
        return Item({"input_values": torch.from_numpy(samples)}, tokens(len(samples), self.convolutions))

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """`input_values` (N, S), zero after each sound's end, and `samples` (N,), how many are real."""
        import torch

        values = [item.tensors["input_values"] for item in items]
        return {
            "input_values": torch.nn.utils.rnn.pad_sequence(values, batch_first=True),
            "samples": torch.tensor([len(each) for each in values]),
        }

    def dummy(self) -> Item:
        """Silence, enough for one token."""
        import numpy as np

        return self._item(np.zeros(1, np.float32))
