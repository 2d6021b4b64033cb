"""Sounds as the log-mel spectrograms of Whisper, which the audio towers of multimodal models read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch

from a2a_audio.reading import SoundReader
from a2a_audio.whisper_processor import WhisperProcessor
from a2a_core import A2AError, Item
from a2a_core.errors import suggest

if TYPE_CHECKING:
    from transformers import PretrainedConfig

STOCK: Final = {"feature_size": 128, "hop_length": 160, "n_fft": 400, "sampling_rate": 16000}
"""What is understood of a feature extractor's file, and what transformers' WhisperFeatureExtractor does for these models."""


def completed(config: PretrainedConfig, file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, int]:
    """How sound is prepared: the recipe's keys, over the directory's file, over the stock ones; A2AError for others."""
    mels = config.audio_config.num_mel_bins
    for key, value in given.items():
        if key not in STOCK:
            raise A2AError(f"`feature_extractor` has an unknown key `{key}`", hint=suggest(key, STOCK))
        if type(value) is not int or value < 1:
            raise A2AError(f"`feature_extractor.{key}` = {value} must be an integer above 0")
    if file.get("dither"):
        raise A2AError("the model's feature extractor adds noise (`dither`), which is not done here")
    found = {**STOCK, "feature_size": mels, **{key: file[key] for key in STOCK if key in file}, **given}
    if found["feature_size"] != mels:
        raise A2AError(f"`feature_extractor.feature_size` is {found['feature_size']}, and the model takes {mels} mels")
    return found


class SoundProcessor:
    """Sound -> Item with `input_features` (frames, mels); its tower halves frames twice.

    In a batch `input_features` are (N, mels, frames), each as long as the tower hears, `mask` (N, frames / 2) is true where
    the halved sound is, `frames` (N, frames) where the sound is, and `lengths` are the sounds' tokens.
    """

    deterministic = True

    def __init__(self, settings: Mapping[str, int], positions: int) -> None:
        self.stock = WhisperProcessor(SoundReader(settings["sampling_rate"]), settings, positions, full=True)

    def __call__(self, raw: Any) -> Item:
        """ValueError for what is no sound, is longer than the tower hears, or shorter than a token."""
        item = self.stock(raw)
        if item is None or item.length < 2:
            raise ValueError(f"the sound is shorter than a token, {3 * self.stock.hop} samples")
        return Item({**item.tensors, "halved": torch.tensor(item.length)}, item.length // 2)

    def pad(self, items: Sequence[Item]) -> dict[str, Any]:
        """All as long as the tower hears, silent behind the sound."""
        features = self.stock.pad(items)["input_features"]
        halved = torch.stack([item.tensors["halved"] for item in items])
        places = torch.arange(features.shape[2])
        return {
            "input_features": features,
            "mask": places[: features.shape[2] // 2] < halved[:, None],
            "frames": (places < 2 * halved[:, None]).long(),
            "lengths": [item.length for item in items],
        }

    def by_item(self, items: Sequence[Item]) -> dict[str, Any]:
        """As `pad`; see a2a_llm.hf_multimodal_rows."""
        import numpy as np

        found = self.pad(items)
        return {**found, "lengths": np.array(found["lengths"])}

    def dummy(self) -> Item:
        """One token of silence."""
        import numpy as np

        return self((np.zeros(3 * self.stock.hop, np.float32), self.stock.reader.sample_rate))
