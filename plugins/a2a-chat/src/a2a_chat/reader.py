"""A row's conversation or text as tokens: what is supervised, whose each token is, where the media's are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from a2a_chat.chat_rows import UNREADABLE
from a2a_chat.formats import MODALITIES, canonical, named
from a2a_chat.media import Items, Places, refuse_other_media
from a2a_chat.template import WRITE_ONE, Messages, Template
from a2a_chat.turns import Stretch, asked, refuse_disorder, stretches
from a2a_core.errors import LeftOut, Unwanted
from a2a_core.structures import Row, Span, Text

TrainOn = Literal["assistant", "all", "last"]
TEXT = "text"
"""The role of a plain text's only span."""


class Settings(NamedTuple):
    """How rows are read."""

    labelled: bool
    """For training; else up to where the answer begins."""
    train_on: TrainOn
    limit: int | None
    """The most tokens of a row."""
    strict: bool
    """A longer row ends the run."""
    eos: bool


class Written(NamedTuple):
    """A text, and whose it is."""

    text: str
    stretches: Sequence[Stretch]
    media: Sequence[str]
    """Modalities of the media in it, in order."""
    whole: bool = False
    """A text of its own: the tokenizer's special tokens are put around it."""


class Reader:
    """See `read` in CollatorConfig.build. Without a `template` plain texts alone can be read."""

    def __init__(self, settings: Settings, template: Template | None, places: Places) -> None:
        self.settings, self.template, self.places = settings, template, places
        self.markers = tuple(dict.fromkeys((*MODALITIES, *places.encoders)))

    def __call__(self, row: Row, items: Items) -> Text:
        """A row's text; ValueError where it has none, or other media than it names."""
        if UNREADABLE in row.fields:
            raise ValueError(row.fields[UNREADABLE])
        fields = canonical(row.fields, markers=self.markers)
        refuse_other_media(fields, named(fields), items, self.places.encoders)
        return self.checked(self.laid(self.written(fields), items))

    def written(self, fields: Mapping[str, Any]) -> Written:
        """The row as a text."""
        if "messages" not in fields:
            return self.plain(fields["text"], named(fields))
        return (self.conversation if self.settings.labelled else self.question)(fields["messages"], fields.get("tools"))

    def conversation(self, messages: Messages, tools: Any) -> Written:
        """All of it, for training."""
        refuse_disorder(messages)
        template = self.known()
        given = self.given(messages, template)
        rendered = template.render(given, tools=tools)
        return Written(rendered.text, stretches(template, given, rendered, tools), named({"messages": messages}))

    def question(self, messages: Messages, tools: Any) -> Written:
        """What stands before an answer, and announces it."""
        before = asked(messages)
        refuse_disorder(before)
        media = named({"messages": before})
        if len(media) < len(named({"messages": messages})):
            raise ValueError("the answer that is to be predicted holds media, and those of the row cannot be told apart")
        template = self.known()
        return Written(template.render(self.given(before, template), prompt=True, tools=tools).text, (), media)

    def known(self) -> Template:
        """The template."""
        if self.template is None:
            raise ValueError(f"the tokenizer has no chat template: {WRITE_ONE}")
        return self.template

    def given(self, messages: Messages, template: Template) -> Messages:
        """The messages as the template takes them: contents as parts, or as texts with placeholders in the media's places."""
        contents = [self.places.joined(each["content"]) for each in messages]
        return [
            {**each, "content": each["content"] if template.parts else content}
            for each, content in zip(messages, contents, strict=True)
        ]

    def plain(self, said: str | Sequence[Mapping[str, Any]], media: Sequence[str]) -> Written:
        """A text that nobody says; it is ended where it ends, unless a model is to go on."""
        content = self.places.joined([{"type": TEXT, "text": said}] if isinstance(said, str) else said)
        return Written(content, [Stretch(0, len(content), TEXT)], media, whole=True)

    def laid(self, written: Written, items: Items) -> Text:
        """The text as tokens, each medium's in its place."""
        encoded = self.places.text.tokenizer(
            written.text,
            add_special_tokens=written.whole,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        ids = self.ended(list(encoded["input_ids"])) if written.whole else encoded["input_ids"]
        weights, bounds = ([1.0] * len(ids), [0, len(ids)]) if written.whole else self.weighed(written, encoded)
        filled = self.places.filled(ids, weights, written.media, items)
        return Text(  # by numpy: torch.tensor takes five times as long for a list
            torch.from_numpy(np.array(filled.ids, np.int64)),
            torch.from_numpy(np.array(filled.weights, np.float32)),
            {key: torch.from_numpy(np.array(places, np.int64)) for key, places in filled.places.items()},
            [
                Span(filled.at(start), filled.at(end), each.role, each.tag)
                for each, (start, end) in zip(written.stretches, pairwise(bounds), strict=True)
            ],
        )

    def ended(self, ids: list[int]) -> list[int]:
        """A plain text's ids with the end of text, or without where a model is to go on."""
        end = self.places.text.tokenizer.eos_token_id
        if not self.settings.labelled:
            return ids[:-1] if end is not None and ids[-1:] == [end] else ids
        if not self.settings.eos or ids[-1:] == [end]:
            return ids
        if end is None:
            raise ValueError("the tokenizer has no end-of-text token: set `eos = false`")
        return [*ids, end]

    def weighed(self, written: Written, encoded: Mapping[str, Any]) -> tuple[list[float], list[int]]:
        """Each token's weight, and the tokens at which stretches begin, with the end of the last.

        A token that an answer shares with what stands around it is the answer's; so it is in transformers' masks.
        """
        starts, ends = ([place[side] for place in encoded["offset_mapping"]] for side in (0, 1))
        weights, bounds = [0.0] * len(starts), [0]
        last = max((number for number, each in enumerate(written.stretches) if each.answered), default=-1)
        for number, each in enumerate(written.stretches):
            begin = bounds[-1]
            bounds.append(max(begin, bisect_left(starts, each.end) if each.answered else bisect_right(ends, each.end)))
            if self.settings.train_on == "all":
                weights[begin : bounds[-1]] = [each.weight] * (bounds[-1] - begin)
            elif each.answered and (self.settings.train_on == "assistant" or number == last):
                stop = bisect_left(starts, each.answered)
                weights[begin:stop] = [each.weight] * (stop - begin)
        return weights, bounds

    def checked(self, text: Text) -> Text:
        """The text; ValueError where it is too long, or nothing of it is to be learned."""
        limit = self.settings.limit
        if limit is not None and text.length > limit:
            error = Unwanted if self.settings.strict else LeftOut
            raise error(f"it has {text.length} tokens, and at the most {limit} are allowed (`max_length`)")
        if not text.length:
            raise ValueError("its text is empty")
        if self.settings.labelled and not bool((text.weights[1:] > 0).any()):
            raise ValueError(f'there is nothing to learn from it with `train_on = "{self.settings.train_on}"`')
        return text
