"""The multimodal models of transformers that `hf-multimodal` runs: where their parts are, how their media are laid out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from a2a_core.errors import suggest


class Mark(NamedTuple):
    """What stands for a medium in a text."""

    option: str
    """The configuration's field with its id."""
    token: str
    """What published tokenizers call it; a configuration from scratch gets the id that the tokenizer has for it."""


class Family(NamedTuple):
    """One model type."""

    layout: Literal["pictures", "patches", "sounds"]
    """Of a batch's media: pictures of one size; patches of pictures of any size, one behind the other; log-mel spectrograms."""
    marks: Mapping[str, Mark]
    """Modality -> its placeholder."""
    parts: Mapping[str, str]
    """Names for groups, freezing and LoRA -> modules of the model of transformers."""
    around: Mapping[str, str] = {}
    """Fields of the configuration with ids of further special tokens, and what published tokenizers call these."""
    spatial: bool = False
    """Positions are of three dimensions, time, height and width (M-RoPE, arXiv 2409.12191, section 2.1)."""
    timestamps: bool = False
    """A video's frames stand apart, each behind its second."""


LLM: Final = {"llm": "model.language_model", "llm.lm_head": "lm_head"}
LLAVA: Final = Family(
    "pictures",
    {"image": Mark("image_token_id", "<image>")},
    {"vision": "model.vision_tower", "merger": "model.multi_modal_projector", **LLM},
)
QWEN: Final = Family(
    "patches",
    {"image": Mark("image_token_id", "<|image_pad|>"), "video": Mark("video_token_id", "<|video_pad|>")},
    {"vision": "model.visual", "merger": "model.visual.merger", **LLM},
    {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"},
    spatial=True,
)
DEEP: Final = QWEN._replace(parts={**QWEN.parts, "merger.deepstack": "model.visual.deepstack_merger_list"}, timestamps=True)

FAMILIES: Final[Mapping[str, Family]] = {
    "llava": LLAVA,
    "vipllava": LLAVA,
    "qwen2_vl": QWEN,
    "qwen2_5_vl": QWEN,
    "qwen3_vl": DEEP,
    "qwen2_audio": Family(
        "sounds",
        {"audio": Mark("audio_token_id", "<|AUDIO|>")},
        {"audio": "model.audio_tower", "merger": "model.multi_modal_projector", **LLM},
    ),
}


def refuse_unknown_family(model_type: Any) -> None:
    """ValueError for a model that `hf-multimodal` does not know how to feed."""
    if model_type not in FAMILIES:
        near = suggest(str(model_type), FAMILIES)
        raise ValueError(f"`hf-multimodal` runs no `{model_type}` model; {near or 'it runs ' + ', '.join(FAMILIES)}")
