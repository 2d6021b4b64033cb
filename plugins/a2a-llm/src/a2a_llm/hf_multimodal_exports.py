"""The format `transformers` of a whole multimodal model: its own class, its tokenizer, how its media are prepared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoModelForMultimodalLM, AutoTokenizer
from transformers.models.auto import processing_auto

from a2a_core.data import Collate
from a2a_core.errors import RunFailed
from a2a_core.export import Exporter, apart, refuse_other
from a2a_core.formats import example, outputs
from a2a_core.model import A2AModel
from a2a_core.pretrained.weights import quiet, reopened
from a2a_llm.exports import beyond, generation, refuse_other_tokens, written_by
from a2a_llm.hf_multimodal_generation import stock_inputs
from a2a_llm.hf_multimodal_images import KIND

AUTO: Any = processing_auto  # carries no types
SOUND: Final = "feature_extractor_type"
VIDEOS: Final = "how videos are prepared is not written: transformers' own way may be another than `fusion.video_processor`"


class WholeModelExport(Exporter):
    """What the fusion holds."""

    def __init__(self, model: A2AModel, collate: Collate) -> None:
        self.model, self.collate = model, collate
        self.whole: Any = model.fusion.model
        self.opens = f"transformers: {type(self.whole).__name__}.from_pretrained(…)"

    def misfit(self) -> str:
        """Nothing else may hold weights."""
        return beyond(self.model, ["fusion."])

    @property
    def options(self) -> Any:
        """The fusion's."""
        return self.model.parts.fusion

    def write(self, folder: Path) -> None:
        """Weights, configuration, where answers end, tokenizer, and the tables of its processor."""
        with quiet():
            self.whole.save_pretrained(folder)
        tokenizer = written_by(self.model, self.collate)
        generation(tokenizer, self.collate).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for name, table in self.tables().items():
            (folder / name).write_text(json.dumps(table, indent=2) + "\n", "utf-8")
        self.notes = [VIDEOS] if "video" in self.model.fusion.modalities else []

    def tables(self) -> dict[str, Mapping[str, Any]]:
        """The files that describe its processor."""
        config = self.whole.config
        owner = {"processor_class": AUTO.PROCESSOR_MAPPING_NAMES[config.model_type]}
        if "audio" in self.model.fusion.modalities:
            sound = self.options.feature_extractor
            seconds = config.audio_config.max_source_positions * 2 * sound["hop_length"] // sound["sampling_rate"]
            more = {SOUND: "WhisperFeatureExtractor", "chunk_length": max(seconds, 1), "return_attention_mask": True}
            return {"preprocessor_config.json": {**owner, **sound, **more}}
        pictures = {**owner, **self.options.image_processor}
        pictures[KIND] = pictures[KIND].removesuffix("Pil")
        if self.model.fusion.family.layout == "patches":
            return {"preprocessor_config.json": pictures}
        places = {
            "patch_size": config.vision_config.patch_size,
            "vision_feature_select_strategy": getattr(config, "vision_feature_select_strategy", "default"),
            "num_additional_image_tokens": int(config.vision_config.model_type == "clip_vision_model"),
        }
        return {"preprocessor_config.json": pictures, "processor_config.json": {**owner, **places}}

    def compare(self, folder: Path) -> float:
        """Tensors, tokens, the processor's settings, logits."""
        again = reopened(AutoModelForMultimodalLM, folder)
        refuse_other(self.whole.state_dict(), again.state_dict(), folder)
        refuse_other_tokens(AutoTokenizer.from_pretrained(folder, local_files_only=True), self.model, folder)
        self.refuse_other_settings(folder)
        inputs, fusion = example(self.model), self.model.fusion
        (given,) = stock_inputs(fusion.family, fusion.modalities, inputs, fusion.positions(inputs))
        return apart(again(**given).logits[0], outputs(self.model, inputs)["logits"])

    def refuse_other_settings(self, folder: Path) -> None:
        """RunFailed where the reopened processor of media has other settings than ours."""
        sound = "audio" in self.model.fusion.modalities
        owner: Any = AutoFeatureExtractor if sound else AutoImageProcessor
        wanted = self.options.feature_extractor if sound else self.options.image_processor
        found = owner.from_pretrained(folder, local_files_only=True).to_dict()
        other = [key for key, value in wanted.items() if key != KIND and plain(found.get(key)) != plain(value)]
        if other:
            raise RunFailed(f"`{other[0]}` of what prepares media is {found.get(other[0])} when it is opened again")


def plain(value: Any) -> Any:
    """As JSON has it, without what is null."""
    kept = {key: each for key, each in value.items() if each is not None} if isinstance(value, dict) else value
    return json.loads(json.dumps(kept, default=dict))
