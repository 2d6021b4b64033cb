"""A text encoder's tokenizer for those who open it with transformers, and whether what was written is the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from a2a_core.errors import RunFailed
from a2a_text.hf_config import special_ids
from a2a_text.tokenization import shared, unpack

PROBES: Final = ("What is this?!\n <b>Été</b>, 1 + 1 = 2.", "a text: #1", "A longer one, which MAY be cut: " + "one two " * 300)


def tokenizer_of(encoder: Any, inputs: Sequence[str]) -> Any:
    """That of a resolved encoder (`hf-text`, `clip-text`), with what its model is called with (`inputs`)."""
    limit = {} if encoder.max_length is None else {"model_max_length": encoder.max_length}
    if not encoder.tokenizer_data:
        return ByT5Tokenizer(extra_ids=0, model_input_names=list(inputs), **limit)
    return PreTrainedTokenizerFast(
        tokenizer_object=unpack(encoder.tokenizer_data),
        model_input_names=list(inputs),
        clean_up_tokenization_spaces=False,
        **special_tokens(encoder),
        **limit,
    )


def special_tokens(encoder: Any) -> dict[str, str]:
    """Begin, end and padding.

    What is named so is cut out of every text, so that it must be a special token already: configurations of old CLIPs call
    "!" the begin and "#" the end of a text. Padding needs a name; where the mask hides it, any special token does.
    """
    from a2a_core.pretrained.configuration import configuration

    tokenizer = shared(encoder.tokenizer_data)
    special = {number: token.content for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    begin, end, _ = special_ids(configuration(encoder.config))
    processor = encoder.processor()
    hidden = not getattr(processor, "padded", False)
    pad = special.get(processor.pad_id) or (next(iter(special.values()), None) if hidden else None)
    pad = pad or tokenizer.id_to_token(processor.pad_id)
    if pad is None:
        raise RunFailed(f"the tokenizer has no token {processor.pad_id}, which texts are padded with")
    named = {"bos_token": special.get(begin), "eos_token": special.get(end), "pad_token": pad}  # type: ignore[arg-type]
    return {name: token for name, token in named.items() if token is not None}


def reopened_tokenizer(folder: Path) -> Any:
    """What anyone gets of it."""
    auto: Any = AutoTokenizer
    return auto.from_pretrained(folder, local_files_only=True)


def refuse_other_ids(found: Sequence[Sequence[int]], processor: Any, folder: Path) -> None:
    """RunFailed where the reopened tokenizer made other ids of PROBES."""
    wanted = [processor(text).tensors["input_ids"].tolist() for text in PROBES]
    if [list(ids) for ids in found] != wanted:
        raise RunFailed(f"the tokenizer in {folder} is not the one that the model was trained with")
