"""What the towers read of a configuration of transformers: their own part, and whether a tokenizer ends texts as they want."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from a2a_core import A2AError
from a2a_core.pretrained.configuration import read_config, read_table
from a2a_text.tokenization import BYTE_VOCABULARY, EOS, PAD, largest_id

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PretrainedConfig

KINDS: Final = {"text": ("clip_text_model", "siglip_text_model"), "vision": ("clip_vision_model", "siglip_vision_model")}
SEES_PADDING: Final = ("siglip_text_model",)
"""Text towers that pool the last place, and were trained on texts padded to one length."""
LARGEST: Final = 2
"""The `eos_token_id` of CLIPs that were converted before 2023: the end of a text is then where its largest id stands."""
NAFLEX: Final = (
    "SigLIP 2 is read where its pictures have a fixed size, by the model type `siglip`; `siglip2` (NaFlex, pictures of any "
    "shape) is not"
)


def read_part(
    path: Path | None, table: Mapping[str, Any], part: Literal["text", "vision"], typed: bool = True
) -> PretrainedConfig:
    """As `read_config`; of a whole model the tower's part, with the whole's projection. A2AError for another family."""
    config: Any = read_config(path, table, typed)
    tower: Any = getattr(config, f"{part}_config", config)
    if config.model_type.startswith("siglip2"):
        raise A2AError(NAFLEX)
    if getattr(tower, "model_type", "") not in KINDS[part]:
        raise A2AError(f"a `{config.model_type}` model has no {part} tower of CLIP or SigLIP")
    if config.model_type == "clip":
        tower.projection_dim = config.projection_dim
    if not getattr(tower, "vision_use_head", True):
        raise A2AError("the vision tower has no pooling of its own (`vision_use_head` is false): use `hf-vision`")
    return tower  # type: ignore[no-any-return]


def fit_tokenizer(config: PretrainedConfig, tokenizer: Tokenizer | None, source: Path | None) -> None:
    """Write down what texts are padded with; A2AError where ids and model do not go together. No tokenizer: bytes."""
    if tokenizer is None:
        config.bos_token_id, config.eos_token_id, config.pad_token_id = None, EOS, PAD
    else:
        config.pad_token_id = padding(config, tokenizer, source)
    ids = largest_id(tokenizer) + 1 if tokenizer is not None else BYTE_VOCABULARY
    if ids > config.vocab_size:
        raise A2AError(f"text becomes ids up to {ids - 1}, and the model has an embedding of {config.vocab_size} rows")
    if config.model_type in SEES_PADDING or tokenizer is None:
        return
    end = ids - 1 if config.eos_token_id == LARGEST else config.eos_token_id
    if tokenizer.encode("").ids[-1:] != [end]:
        raise A2AError(f"CLIP reads a text at the token {end}, where it ends, and the tokenizer ends no text with it")


def padding(config: PretrainedConfig, tokenizer: Tokenizer, source: Path | None) -> int:
    """The padding token of the tokenizer's own configuration, else the model's."""
    folder = source if source is None or source.is_dir() else source.parent
    said = read_table(folder / "tokenizer_config.json").get("pad_token") if folder is not None else None
    token = said.get("content") if isinstance(said, dict) else said
    found = tokenizer.token_to_id(token) if isinstance(token, str) else config.pad_token_id
    if found is None or not 0 <= found < config.vocab_size:
        raise A2AError("nothing says what texts are padded with: `pad_token` in tokenizer_config.json, or `pad_token_id`")
    return int(found)
