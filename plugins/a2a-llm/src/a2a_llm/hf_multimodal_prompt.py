"""One medium, or a text, as an item of its own: between a prefix and a suffix, as a multimodal model reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from a2a_core import A2AError, Item
from a2a_core.structures import Segment
from a2a_llm.hf_multimodal_positions import grids_of, spatial

if TYPE_CHECKING:
    from a2a_llm.hf_multimodal_text import MultimodalText

OWN = ("input_ids", "positions", "own")
"""An item's tensors that are its text's; the others are its medium's."""
LASTING = ("video", "audio")


class Wording(NamedTuple):
    """What is read, and what stands around it."""

    medium: str
    prefix: str = ""
    suffix: str = ""
    borders: tuple[str, str] = ("", "")
    """What published models have before and behind each medium."""
    max_length: int | None = None
    truncate: bool = False


class Space(NamedTuple):
    """How positions of three dimensions are counted."""

    merge: int
    timestamps: bool


class PromptProcessor:
    """Raw medium or text -> Item: the ids of all that is read, their positions, and which are the medium's `own` places.

    `media` is what reads the medium itself, None for texts; `space` None where positions are numbers.
    """

    deterministic = True

    def __init__(self, text: MultimodalText, wording: Wording, media: Any, space: Space | None) -> None:
        self.text, self.wording, self.media, self.space = text, wording, media, space
        marks = {text.placeholder(modality) for modality in text.ids} | set(wording.borders)
        for name in ("prefix", "suffix"):
            for mark in sorted(marks - {""}):
                if mark in getattr(wording, name):
                    hint = "leave it out: what stands for a medium, and its borders, are put between the two"
                    raise A2AError(f"`{name}` holds `{mark}`", hint=hint)

    def __call__(self, raw: Any) -> Item:
        """ValueError for what is no such medium, or becomes more tokens than there may be."""
        medium, limit = self.wording.medium, self.wording.max_length
        if isinstance(raw, Segment) and medium not in LASTING:
            if raw.start or raw.end is not None:
                raise ValueError(f"the row names seconds, and its {medium} has none: leave `start` and `end` empty")
            raw = raw.medium
        if medium == "text":
            return self.item(self.written(raw))
        item = self.media(raw)
        before, behind = self.wording.borders
        told = f"{self.wording.prefix}{before}{self.text.placeholder(medium)}{behind}{self.wording.suffix}"
        ids = self.text.tokenizer(told)["input_ids"]
        place = ids.index(self.text.ids[medium])
        more, own = self.text.expanded(medium, item, item.length)
        ids[place : place + 1] = more
        if limit is not None and len(ids) > limit:
            text = f"it becomes {len(ids)} tokens, {item.length} of them the {medium}'s own, which are never cut"
            raise ValueError(f"{text}; there may be {limit}")
        places = [place + each for each, mine in enumerate(own) if mine]
        return self.item(ids, places, item)

    def written(self, raw: Any) -> list[int]:
        """A text's ids, its own tail dropped where it is too long and may be cut."""
        if not isinstance(raw, str):
            raise ValueError(f"a text is expected, and there is a {type(raw).__name__}")
        prefix, suffix, limit = self.wording.prefix, self.wording.suffix, self.wording.max_length
        made = self.text.tokenizer(f"{prefix}{raw}{suffix}", return_offsets_mapping=True)
        ids: list[int] = made["input_ids"]
        if not ids:
            raise ValueError("the text is empty")
        for mark, number in ((self.text.placeholder(modality), number) for modality, number in self.text.ids.items()):
            if number in ids:
                raise ValueError(f"the text holds `{mark}`, by which the model is told that a medium stands there")
        over = 0 if limit is None else len(ids) - limit
        if over <= 0:
            return ids
        start, end = len(prefix), len(prefix) + len(raw)
        mine = [place for place, (first, last) in enumerate(made["offset_mapping"]) if start <= first < end and last > first]
        if not self.wording.truncate or over > len(mine):
            what = "`truncate = true` drops the tail" if over <= len(mine) else "prefix and suffix alone are too long"
            raise ValueError(f"it becomes {len(ids)} tokens; there may be {limit} ({what})")
        dropped = set(mine[len(mine) - over :])
        return [each for place, each in enumerate(ids) if place not in dropped]

    def item(self, ids: Sequence[int], places: Sequence[int] = (), medium: Item | None = None) -> Item:
        """`input_ids` (T,), `positions` (T,) or (T, 3), `own` (T,), and the medium's tensors."""
        own = torch.zeros(len(ids), dtype=torch.bool)
        own[list(places)] = True
        given = {} if medium is None else medium.tensors
        positions = self.positions(len(ids), torch.tensor(places, dtype=torch.long), medium)
        return Item({"input_ids": torch.tensor(ids), "positions": positions, "own": own, **given}, len(ids))

    def positions(self, length: int, places: Tensor, medium: Item | None) -> Tensor:
        """(T,), or (T, 3) where the model has them in three dimensions."""
        line = torch.arange(length)
        if self.space is None:
            return line
        if medium is None:
            return line[:, None].expand(-1, 3)
        steps = [self.media.step(medium)] if self.wording.medium == "video" else []
        grids = grids_of({"grids": [medium.tensors["grid"].tolist()], "steps": steps}, *self.space)
        return spatial(line, [length], [(places, grids)]).T

    def pad(self, items: Sequence[Item]) -> dict[str, Any]:
        """Padded on the right; `num_tokens` (N,) and `own` (N, T) are numbers (see a2a_llm.hf_multimodal_rows)."""
        texts = {name: pad_sequence([item.tensors[name] for item in items], batch_first=True) for name in OWN}
        lengths = np.array([item.length for item in items])
        found: dict[str, Any] = {**texts, "own": texts["own"].numpy(), "num_tokens": lengths}
        if self.media is None:
            return found
        media = [
            Item({name: value for name, value in item.tensors.items() if name not in OWN}, int(item.tensors["own"].sum()))
            for item in items
        ]
        return found | self.media.by_item(media)

    def dummy(self) -> Item:
        """One token, or the medium's shortest without anything around it."""
        if self.media is None:
            return self.item([0])
        medium = self.media.dummy()
        return self.item([self.text.ids[self.wording.medium]] * medium.length, range(medium.length), medium)
