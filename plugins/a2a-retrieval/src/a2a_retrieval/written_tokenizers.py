"""A text encoder's tokenizer for those who open it with transformers, and whether what was written is the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from a2a_core.errors import RunFailed
from a2a_text.hf_config import special_ids
from a2a_text.tokenization import unpack

PROBES: Final = ("What is this?\n <b>Été</b>, 1 + 1 = 2.", "a text", "A longer one, which MAY be cut: " + "one two " * 300)


def tokenizer_of(encoder: Any, inputs: Sequence[str]) -> Any:
    """That of a resolved encoder (`hf-text`, `clip-text`), with what its model is called with (`inputs`)."""
    from a2a_core.pretrained.configuration import configuration

    limit = {} if encoder.max_length is None else {"model_max_length": encoder.max_length}
    if not encoder.tokenizer_data:
        return ByT5Tokenizer(extra_ids=0, model_input_names=list(inputs), **limit)
    tokenizer = unpack(encoder.tokenizer_data)
    begin, end, pad = special_ids(configuration(encoder.config))
    named = {"bos_token": begin, "eos_token": end, "pad_token": pad if pad is not None else encoder.processor().pad_id}
    tokens = {name: None if token is None else tokenizer.id_to_token(token) for name, token in named.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=list(inputs),
        clean_up_tokenization_spaces=False,
        **{name: token for name, token in tokens.items() if token is not None},
        **limit,
    )


def reopened_tokenizer(folder: Path) -> Any:
    """What anyone gets of it."""
    auto: Any = AutoTokenizer
    return auto.from_pretrained(folder, local_files_only=True)


def refuse_other_ids(found: Sequence[Sequence[int]], processor: Any, folder: Path) -> None:
    """RunFailed where the reopened tokenizer made other ids of PROBES."""
    wanted = [processor(text).tensors["input_ids"].tolist() for text in PROBES]
    if [list(ids) for ids in found] != wanted:
        raise RunFailed(f"the tokenizer in {folder} is not the one that the model was trained with")
