"""Sound to Whisper's log-mel input: the numbers of transformers' WhisperFeatureExtractor, computed where there is sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from a2a_core.structures import Item

if TYPE_CHECKING:
    from torch import Tensor

    from a2a_audio.opening import Samples
    from a2a_audio.reading import SoundReader
    from a2a_audio.spectrogram import MelSpectrogram

SILENCE, DECADES = -10.0, 8.0
"""Log10 power of silence: this, or so much below the loudest."""


class WhisperProcessor:
    """Sound -> Item with `input_features` (frames, mels): log10 power of the frames that the sound reaches; silence follows.

    Whisper takes a quarter of that plus one, mels first: `pad` does it while it copies. A sound shorter than a window needs
    no care of its own.
    """

    deterministic = True

    def __init__(self, reader: SoundReader, numbers: Mapping[str, Any], positions: int, full: bool) -> None:
        self.reader, self.hop = reader, int(numbers["hop_length"])
        self.n_fft, self.num_mels = int(numbers["n_fft"]), int(numbers["feature_size"])
        self.limit = 2 * positions
        """Frames that the model takes."""
        self.full = full

    @cached_property
    def _spectrogram(self) -> MelSpectrogram:
        from a2a_audio.spectrogram import MelSpectrogram

        return MelSpectrogram(self.reader.sample_rate, self.num_mels, self.n_fft, self.n_fft, self.hop)

    def __call__(self, raw: Any) -> Item | None:
        """Read, cut, resample, transform, normalise; ValueError for sound that is longer than the model hears."""
        samples = self.reader(raw)
        if samples is None:
            return None
        heard, rate = self.limit * self.hop, self.reader.sample_rate
        if samples.shape[1] > heard:
            raise ValueError(
                f"the sound lasts {samples.shape[1] / rate:.2f} s, the model hears {heard / rate:g} s: "
                f"`max_seconds = {heard / rate:g}` would cut it"
            )
        return self._item(samples[0])

    def _item(self, samples: Samples) -> Item:
        from a2a_audio.spectrogram import log10

        frames = min(self._spectrogram.touched(len(samples)), self.limit)
        power = self._spectrogram.power(samples, frames, end=self.limit * self.hop)
        return Item({"input_features": log10(power)}, -(-self._spectrogram.frames(len(samples)) // 2))

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """`input_features` (N, mels, frames), each continued by its own silence, and `mask` (N, T), the sounds' tokens."""
        import numpy as np
        import torch

        lengths = [item.length for item in items]
        longest = max(lengths)
        # the last token's convolutions reach two frames beyond it; padding by zero must not come into it
        frames = self.limit if self.full else min(2 * longest + 2, self.limit)
        features, one = torch.empty(len(items), self.num_mels, frames), torch.ones(())
        for padded, item in zip(features, items, strict=True):
            sound = item.tensors["input_features"]
            padded.fill_(1 + 0.25 * max(float(sound.numpy().max()) - DECADES, SILENCE))
            torch.add(one, sound[:frames].T, alpha=0.25, out=padded[:, : len(sound)])
        return {"input_features": features, "mask": torch.from_numpy(np.arange(longest) < np.array(lengths)[:, None])}

    def dummy(self) -> Item:
        """One sample of silence."""
        import numpy as np

        return self._item(np.zeros(1, np.float32))
