"""Text with media in it as a multimodal model's own tokenizer and chat template write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, Any

from a2a_core import A2AError
from a2a_core.pretrained.configuration import read_table
from a2a_llm.hf_multimodal_families import Family
from a2a_llm.vocabulary import pack, packed, shared, unpack

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from a2a_core import Item


def tokenizer_of(source: Path | None, family: Family) -> str:
    """A directory's tokenizer, packed, with the chat template of its processor; without one UTF-8 bytes and placeholders."""
    if source is None:
        from tokenizers import AddedToken

        tokenizer = unpack("")
        marks = [mark.token for mark in family.marks.values()] + list(family.around.values())
        tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks], special_tokens=True)
        return packed(tokenizer)
    data = pack(source)
    template = read_table(source / "chat_template.json").get("chat_template")
    tokenizer = unpack(data)
    if not isinstance(template, str) or tokenizer.chat_template:
        return data
    tokenizer.chat_template = template
    return packed(tokenizer)


def name_ids(config: PretrainedConfig, family: Family, data: str, named: Mapping[str, Any]) -> None:
    """Let a configuration from scratch name the tokenizer's special tokens, but for those that it has `named` itself.

    A2AError where the tokenizer has no such token.
    """
    tokenizer = shared(data)
    known = tokenizer.get_vocab()
    wanted = {mark.option: mark.token for mark in family.marks.values()} | dict(family.around)
    for option, token in wanted.items():
        names = {option, config.attribute_map.get(option, option)}
        if names & named.keys():
            continue
        if token not in known:
            raise A2AError(
                f"the tokenizer has no token `{token}`, which a `{config.model_type}` model reads",
                hint=f"add it, or set `config.{option}` to the id of the token that stands for it",
            )
        setattr(config, option, known[token])


def placeholders(config: PretrainedConfig, family: Family, data: str) -> dict[str, int]:
    """Modality -> the id that stands for it; A2AError where the tokenizer has no such token, or the model no such row."""
    tokenizer, rows, found = shared(data), config.get_text_config().vocab_size, {}
    for modality, mark in family.marks.items():
        number = int(getattr(config, mark.option))
        token = tokenizer.convert_ids_to_tokens(number) if number < len(tokenizer) else None
        if token is None:
            raise A2AError(f"`{mark.option}` = {number}, and the tokenizer has no such token")
        if number >= rows:
            raise A2AError(f"`{mark.option}` = {number}, and the model has `vocab_size` = {rows}")
        found[modality] = number
    return found


class MultimodalText:
    """The text processor of a whole multimodal model (see a2a_core.TextProcessor); its template renders media, too.

    `ids` are the placeholders' by modality. Where a video's frames stand apart, `around` are the tokens before and behind
    each, and its second goes before them, as `<1.5 seconds>`.
    """

    parts = True

    def __init__(
        self, data: str, max_length: int | None, ids: Mapping[str, int], around: tuple[int, int] | None = None
    ) -> None:
        self.data = intern(data)  # one of all that are equal: to find what is shared, megabytes would be compared
        self.max_length, self.ids, self.around = max_length, dict(ids), around

    @property
    def tokenizer(self) -> Any:
        """The model's own; shared, not to be changed."""
        return shared(self.data)

    def placeholder(self, modality: str) -> str:
        """The model's own token."""
        if modality not in self.ids:
            raise ValueError(f"the model reads no medium of modality `{modality}`: there is {', '.join(self.ids)}")
        token: str = self.tokenizer.convert_ids_to_tokens(self.ids[modality])
        return token

    def expanded(self, modality: str, item: Item, length: int) -> tuple[Sequence[int], Sequence[bool]]:
        """The placeholder, so often; of a video whose frames stand apart their seconds and borders, too, which are text."""
        one = self.ids[modality]
        if "seconds" not in item.tensors or self.around is None:
            return [one] * length, [True] * length
        seconds, ids, own = item.tensors["seconds"].tolist(), list[int](), list[bool]()
        for second in seconds:
            told = self.tokenizer(f"<{second:.1f} seconds>", add_special_tokens=False)["input_ids"]
            frame = [*told, self.around[0], *[one] * (length // len(seconds)), self.around[1]]
            ids += frame
            own += [False] * (len(told) + 1) + [True] * (length // len(seconds)) + [False]
        return ids, own
