"""The `hf-audio` encoder: Whisper, Wav2Vec2, HuBERT, WavLM, UniSpeech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import attrs

from a2a_audio.log_mel import MISSING, example_files
from a2a_audio.reading import MissingTrack, SoundReader
from a2a_core import A2AError, RecordingConfig, option
from a2a_core.pretrained import check_source

if TYPE_CHECKING:
    from typing import Self

    from torch import nn
    from transformers import PretrainedConfig

    from a2a_core.structures import Processor

WAVEFORM: Mapping[str, Any] = {"sampling_rate": 16000, "do_normalize": True}
"""How transformers' Wav2Vec2FeatureExtractor prepares sound unless told otherwise."""
WHISPER: Mapping[str, Any] = {"sampling_rate": 16000, "n_fft": 400, "hop_length": 160, "feature_size": 80}
"""The same of WhisperFeatureExtractor."""
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "whisper": WHISPER,
    **dict.fromkeys(("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat"), WAVEFORM),
}


TRAINING = ("layerdrop", "encoder_layerdrop", "mask_time_prob", "mask_feature_prob")
"""Layer drop and SpecAugment, which are off: with them, a step would leave parameters without gradient."""


class HfAudioEncoder(RecordingConfig):
    """Sound to tokens by a pretrained speech model of transformers: Whisper's encoder, Wav2Vec2, HuBERT, WavLM, UniSpeech.

    `path` is a directory that `save_pretrained` wrote (config.json, model.safetensors, and preprocessor_config.json, which
    says how sound is prepared); its weights are loaded on the first build. `config` is a table instead (`model_type` and its
    fields), for a model from scratch. Whole checkpoints are fine: Whisper's decoder and CTC heads are left out.

    `layer` counts as transformers' `hidden_states`: 0 is what the first layer is given, -1 after the last. Layers behind it
    are not built. Without `layer` the tokens are the model's own output, after its final norm where it has one.

    Whisper (arXiv 2212.04356): `input_features` (N, mels, frames) to (N, T, d_model), one token for 20 ms. `pad = "full"`
    is the model as it was trained: every sound is followed by silence up to 30 s, which all tokens see, and the tokens are
    those of transformers' WhisperModel. `pad = "batch"` computes no more than the longest sound of a batch needs, and
    attention sees the sound alone: several times faster on short sound, other numbers, for training along. Sound that is
    longer than 30 s is an error, unless `max_seconds` cuts it. The tokens that are passed on are those of the sound.

    The others (arXiv 2006.11477, 2106.07447, 2110.13900): `input_values` (N, samples) of zero mean and unit variance where
    the model wants that, to (N, T, hidden_size), one token for 20 ms. The attention mask is always used, and the group norm
    of the first convolution (base models, which transformers runs without a mask) is taken over the real sound alone, so
    that tokens equal those of transformers for the sound by itself, whatever stands beside it in a batch. Sound shorter
    than the convolutions' reach (25 ms) is continued by zeros.

    SpecAugment and layer drop are off. Models whose positions or norms see padding whatever the mask says (Data2Vec, SEW,
    conformers with batch norm, an adapter behind Wav2Vec2) are refused. A saved model carries its configuration.
    """

    name: ClassVar[str] = "hf-audio"
    modality: ClassVar[str] = "audio"

    path: Path | None = option("a directory with a saved model", default=None)
    config: dict[str, Any] = option(
        "the model's configuration: `model_type` and its fields (empty: that of `path`)", default={}
    )
    layer: int | None = option("hidden states to use, -1 after the last layer (none: the model's own output)", default=None)
    pad: Literal["full", "batch"] = option(
        "Whisper's input: always its full 30 s, or as much as the longest sound of a batch needs", default="full"
    )
    max_seconds: float | None = option("cut longer sound at so many seconds (none: never)", default=None, gt=0)
    missing_track: MissingTrack = option(MISSING, default="error")
    preprocess: dict[str, Any] = option(
        "how sound is prepared: keys of preprocessor_config.json, over those of `path`", default={}
    )

    def check(self) -> None:
        """ValueError unless there is one model, of a family that is known, and for keys that its preparation does not have."""
        family = self.config.get("model_type")
        if isinstance(family, str):
            refuse_unknown_family(family)
            self._check_preprocess(FAMILIES[family])
        check_source(self.path, self.config, self.is_resolved(), "whisper")

    def _check_preprocess(self, known: Mapping[str, Any]) -> None:
        for key, value in self.preprocess.items():
            if key not in known:
                raise ValueError(f"`preprocess` has an unknown key `{key}`; there is {', '.join(sorted(known))}")
            wanted = type(known[key])
            if type(value) is not wanted or (wanted is int and value < 1):
                raise ValueError(f"`preprocess.{key}` must be {'true or false' if wanted is bool else 'an integer above 0'}")

    def is_resolved(self) -> bool:
        """Whether `path` was read in: it is then only where the weights of the first build lie."""
        family = self.config.get("model_type")
        return isinstance(family, str) and FAMILIES[family].keys() == self.preprocess.keys()

    def resolved(self) -> Self:
        """A copy that carries the model's configuration and how sound is prepared; A2AError where they do not fit."""
        from a2a_core.pretrained.configuration import plain, read_preprocessor

        config = self._configuration()
        read = read_preprocessor(self.path, "feature_extractor") if self.path is not None and not self.config else {}
        if read.get("dither"):
            raise A2AError(f"{self.path}: its feature extractor adds noise (`dither`), which `hf-audio` does not do")
        known = FAMILIES[config.model_type]
        given = {**{key: value for key, value in read.items() if key in known}, **self.preprocess}
        if config.model_type == "whisper":
            given["feature_size"] = given.get("feature_size", config.num_mel_bins)
            if given["feature_size"] != config.num_mel_bins:
                raise A2AError(f"`feature_size` is {given['feature_size']}, but the model takes {config.num_mel_bins} mels")
        return cast("Self", attrs.evolve(cast("Any", self), config=plain(config), preprocess={**known, **given}))

    def _configuration(self) -> PretrainedConfig:
        from a2a_core.pretrained.configuration import read_config

        config = read_config(self.path, self.config, typed=not self.is_resolved())
        try:
            refuse_unknown_family(config.model_type)
        except ValueError as error:
            raise A2AError(f"{self.path}: {error}") from None
        for name in TRAINING:
            if hasattr(config, name):
                setattr(config, name, 0.0)
        config.apply_spec_augment = False
        return config

    def processor(self) -> Processor:
        """Sound to `input_features` or `input_values`."""
        whole = self.resolved()
        numbers = whole.preprocess
        reader = SoundReader(numbers["sampling_rate"], "mono", self.max_seconds, self.missing_track)
        config = whole._configuration()
        if config.model_type == "whisper":
            from a2a_audio.whisper_processor import WhisperProcessor

            positions = int(config.max_source_positions)
            return WhisperProcessor(reader, numbers, positions, self.pad == "full")
        from a2a_audio.waveform_processor import WaveformProcessor

        convolutions = tuple(zip(config.conv_kernel, config.conv_stride, strict=True))
        return WaveformProcessor(reader, numbers["do_normalize"], convolutions)

    def build(self) -> nn.Module:
        """The model with random weights."""
        config = self.resolved()._configuration()
        if config.model_type == "whisper":
            from a2a_audio.whisper_model import WhisperEncoderModel

            return WhisperEncoderModel(config, self.layer, self.pad == "full")
        from a2a_audio.waveform_model import WaveformModel

        return WaveformModel(config, self.layer)

    def load(self, module: nn.Module) -> None:
        """Copy the weights of `path`; A2AError when one is missing there, or one of the encoder's is left over."""
        from a2a_audio.hf_weights import load_encoder

        if self.path is not None:
            load_encoder(module, self.path)

    def examples(self, folder: Path) -> Sequence[Any]:
        """Wav files of several rates, channels and lengths, the longest 0.5 s."""
        return example_files(folder)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """A Wav2Vec2 of one layer with the group norm of the base models."""
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        convolutions = {"conv_dim": [8, 8, 8], "conv_kernel": [10, 8, 4], "conv_stride": [5, 8, 4]}
        positions = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
        return cls(config={"model_type": "wav2vec2", **sizes, **convolutions, "num_feat_extract_layers": 3, **positions})


def refuse_unknown_family(family: str) -> None:
    """ValueError for a model that `hf-audio` does not know how to feed."""
    if family not in FAMILIES:
        raise ValueError(f"`hf-audio` runs {', '.join(FAMILIES)}, but no `{family}` model")
