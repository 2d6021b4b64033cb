"""What the fusion and the encoder `hf-multimodal` have in common: a model, its tokenizer, how its media are prepared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

import attrs

from a2a_core import A2AError, option
from a2a_core.options import Component
from a2a_core.pretrained import check_source
from a2a_llm.hf_multimodal_families import FAMILIES, refuse_unknown_family
from a2a_llm.vocabulary import BYTES, largest_id

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig

    from a2a_core.structures import Processor
    from a2a_llm.hf_multimodal_text import MultimodalText


SIZES: Final = {"hidden_size": 16, "intermediate_size": 32}
TINY: Final[Mapping[str, Any]] = {
    "config": {
        "model_type": "qwen2_5_vl",
        "vision_config": {
            **SIZES,
            "depth": 2,
            "num_heads": 2,
            "out_hidden_size": 16,
            "patch_size": 4,
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
        "text_config": {
            **SIZES,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "vocab_size": BYTES + 4,
            "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
        },
    },
    "image_processor": {"size": {"shortest_edge": 64, "longest_edge": 4096}},
}
"""Options of a Qwen2.5-VL of two layers, one of them within windows, on bytes."""


class HfMultimodalOptions(Component):
    """A multimodal model of transformers, from a directory or from a configuration."""

    path: Path | None = option("a directory with a saved model", default=None)
    config: dict[str, Any] = option(
        "the model's configuration: `model_type` and its fields (empty: that of `path`)", default={}
    )
    tokenizer: Path | None = option(
        "a directory with a tokenizer, as transformers saves it (none: that of `path`, else UTF-8 bytes)", default=None
    )
    image_processor: dict[str, Any] = option(
        "how pictures are prepared: keys of preprocessor_config.json, over those of `path`", default={}
    )
    video_processor: dict[str, Any] = option(
        "how videos are prepared: `fps`, `max_frames`, and keys of preprocessor_config.json, over those of `path`", default={}
    )
    feature_extractor: dict[str, Any] = option(
        "how sound is prepared: `sampling_rate`, `n_fft`, `hop_length`, `feature_size`, over those of `path`", default={}
    )
    layout: Literal["auto", "documents", "padded"] = option(
        "texts one behind the other, or side by side; `auto`: the first where the model's attention can", default="auto"
    )
    tokenizer_data: str = option("the tokenizer itself, packed; filled in by a2a when a model is saved", default="")

    def check(self) -> None:
        """ValueError for a directory or a configuration that cannot be."""
        check_source(self.path, self.config, bool(self.tokenizer_data), "qwen2_5_vl")
        if self.config:
            refuse_unknown_family(self.config["model_type"])
        if self.tokenizer is not None and not self.tokenizer_data and not self.tokenizer.exists():
            raise ValueError(f"`tokenizer`: there is nothing at {self.tokenizer}")

    def resolved(self) -> Self:
        """A copy that carries configuration, tokenizer and preprocessing; A2AError where they do not fit."""
        from a2a_core.pretrained.configuration import plain, read_config
        from a2a_llm.causal_lm_model import special_ids
        from a2a_llm.hf_multimodal_media import Preparation, prepared
        from a2a_llm.hf_multimodal_text import name_ids, placeholders, tokenizer_of

        if self.tokenizer_data:
            return self
        config = read_config(self.path, self.config, typed=self.path is None)
        try:
            refuse_unknown_family(config.model_type)
        except ValueError as error:
            raise A2AError(str(error)) from None
        family = FAMILIES[config.model_type]
        data = tokenizer_of(self.tokenizer or self.path, family)
        if self.path is None:
            name_ids(config, family, data, self.config)
        placeholders(config, family, data)
        rows = config.get_text_config().vocab_size
        if largest_id(data) >= rows:
            raise A2AError(f"text becomes ids up to {largest_id(data)}, and the model has `vocab_size` = {rows}")
        for each in (config, config.get_text_config()):
            special_ids(each, data)
        how = prepared(config, self.path, Preparation(self.image_processor, self.video_processor, self.feature_extractor))
        if "audio" in family.marks:
            config.audio_config.encoder_layerdrop = 0.0  # a step would leave parameters without gradient
        copy: Self = attrs.evolve(
            cast("Any", self),
            tokenizer=None,
            tokenizer_data=data,
            config=plain(config),
            image_processor=how.image,
            video_processor=how.video,
            feature_extractor=how.audio,
        )
        return copy

    def text(self) -> MultimodalText:
        """The model's tokenizer and chat template."""
        from a2a_llm.hf_multimodal_text import MultimodalText, placeholders

        whole = self.resolved()
        config = whole.configuration()
        family = FAMILIES[config.model_type]
        positions = getattr(config.get_text_config(), "max_position_embeddings", None)
        around = tuple(getattr(config, name) for name in family.around) if family.timestamps else None
        ids = placeholders(config, family, whole.tokenizer_data)
        return MultimodalText(whole.tokenizer_data, positions if positions and positions > 0 else None, ids, around)

    def processors(self) -> dict[str, Processor]:
        """By modality; `self` is resolved."""
        from a2a_llm.hf_multimodal_media import Preparation, processors

        how = Preparation(self.image_processor, self.video_processor, self.feature_extractor)
        return processors(self.configuration(), how)

    def configuration(self) -> PretrainedConfig:
        """The model's; `self` is resolved."""
        from a2a_core.pretrained.configuration import configuration

        return configuration(self.config)

    def dummies(self) -> dict[str, Mapping[str, Any]]:
        """Batches of one dummy item, by modality; `self` is resolved."""
        import torch

        with torch.device("cpu"):  # wherever the model is built, what is known of media is numbers
            return {key: each.pad([each.dummy()]) for key, each in self.processors().items()}

    def load(self, module: nn.Module) -> None:
        """Copy the weights of `path`; A2AError when one is missing there."""
        if self.path is not None:
            cast("Any", module).load(self.path)
