"""Media in a text: as many as it names, each in its place, as long as its encoders make it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from a2a_chat.formats import MODALITIES
from a2a_core.errors import A2AError
from a2a_core.structures import Item, TextProcessor

Items = Mapping[str, Sequence[Item]]


class Filled:
    """Tokens, media's among them."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.ids: list[int] = []
        self.weights: list[float] = []
        self.places: dict[str, list[int]] = {key: [] for key in keys}
        self._marks: list[int] = []
        self._grown = [0]

    def copy(self, ids: Sequence[int], weights: Sequence[float], upto: int) -> None:
        """Go on with what stood before, behind the last placeholder and up to `upto`, a placeholder's place or the end."""
        begin = self._marks[-1] + 1 if self._marks else 0
        self._grown.append(len(self.ids) - begin)
        self.ids += ids[begin:upto]
        self.weights += weights[begin:upto]
        self._marks.append(upto)

    def at(self, place: int) -> int:
        """Where a token that stood at `place` stands now, or the first of those that a placeholder became."""
        return place + self._grown[bisect_left(self._marks, place) + 1]


class Places:
    """What becomes of the media of a text; `encoders` modality -> those that read it, in the order of their names."""

    def __init__(self, text: TextProcessor, lengths: Mapping[str, Callable[[int], int]], modalities: Mapping[str, str]) -> None:
        self.text, self.lengths = text, dict(lengths)
        self.encoders: dict[str, list[str]] = {}
        for key in sorted(modalities):
            self.encoders.setdefault(modalities[key] or key, []).append(key)
        self.placeholders = {modality: placeholder(text, modality, keys[0]) for modality, keys in self.encoders.items()}
        self.ids = {text.tokenizer.convert_tokens_to_ids(mark) for mark in self.placeholders.values()}

    def joined(self, content: Sequence[Mapping[str, Any]]) -> str:
        """A message's parts as one text, with placeholders for media; ValueError where its own words hold one."""
        marks = [self.placeholders[each["type"]] for each in content if each["type"] != "text"]
        found = "".join(each["text"] if each["type"] == "text" else self.placeholders[each["type"]] for each in content)
        for mark in set(self.placeholders.values()):
            if found.count(mark) != marks.count(mark):
                raise ValueError(f"its text holds `{mark}`, by which the model is told that a medium stands there")
        return found

    def filled(self, ids: Sequence[int], weights: Sequence[float], order: Sequence[str], items: Items) -> Filled:
        """Each placeholder as what its medium becomes, for each of its encoders; the medium's own tokens weigh nothing."""
        marks = [place for place, token in enumerate(ids) if token in self.ids]
        if len(marks) != len(order):
            raise ValueError(f"the template writes {len(marks)} placeholders for {len(order)} media")
        made = Filled(key for keys in self.encoders.values() for key in keys)
        slots = dict.fromkeys(self.encoders, 0)
        for place, modality in zip(marks, order, strict=True):
            if self.text.tokenizer.convert_ids_to_tokens(ids[place]) != self.placeholders[modality]:
                raise ValueError(f"the template puts media in another order: another stands where {modality} is expected")
            made.copy(ids, weights, place)
            for key in self.encoders[modality]:
                self.fill(made, key, modality, items[key][slots[modality]], weights[place])
            slots[modality] += 1
        made.copy(ids, weights, len(ids))
        return made

    def fill(self, made: Filled, key: str, modality: str, item: Item, weight: float) -> None:
        """One medium's tokens of one encoder."""
        length = self.lengths[key](item.length) if key in self.lengths else item.length
        ids, own = self.text.expanded(modality, item, length)
        if sum(own) != length or len(own) != len(ids):
            raise ValueError(f"the fusion gives a medium {sum(own)} tokens, and encoder `{key}` makes {length} of it")
        start = len(made.ids)
        made.ids.extend(ids)
        made.weights.extend(0.0 if each else weight for each in own)
        made.places[key].extend(start + place for place, each in enumerate(own) if each)


def placeholder(text: TextProcessor, modality: str, key: str) -> str:
    """What stands for a medium; A2AError where the fusion takes none of the modality, or it is no token."""
    try:
        mark = text.placeholder(modality)
    except ValueError as error:
        raise A2AError(f"encoder `{key}`: {error}") from None
    ids = text.tokenizer(mark, add_special_tokens=False)["input_ids"]
    if ids != [text.tokenizer.convert_tokens_to_ids(mark)]:
        raise A2AError(f"the placeholder `{mark}` for the modality `{modality}` is no token of the fusion's tokenizer")
    return mark


def refuse_other_media(
    fields: Mapping[str, Any], media: Sequence[str], items: Items, encoders: Mapping[str, Sequence[str]]
) -> None:
    """ValueError where a row has more or fewer media of a modality than its text names."""
    wrong = []
    for modality in dict.fromkeys((*MODALITIES, *encoders)):
        count = media.count(modality)
        given = {f"for encoder `{key}`": len(items.get(key, ())) for key in encoders.get(modality, ())}
        if not given and count:
            wrong.append(f"{count} `<{modality}>` in its text, and no encoder reads {modality}")
        listed = fields.get(modality)
        given = given or {f"in field `{modality}`": len(listed) if isinstance(listed, list) else 0}
        wrong += [f"{count} `<{modality}>` in its text, {number} {where}" for where, number in given.items() if number != count]
    if wrong:
        raise ValueError("media and their places differ: " + "; ".join(wrong))
