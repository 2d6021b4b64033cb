"""Read rows to a batch: texts one behind the other, and what is supervised in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from a2a_chat.reader import Reader
from a2a_chat.template import ending
from a2a_core.builtin.pad import Pad
from a2a_core.structures import Batch, Processor, Sample, TargetProcessor, Text, TextTarget

Group = Callable[[Sequence[int]], list[list[int]]]


class Chat:
    """Samples, at least one, to a batch; `read`, `group`, `stop` and `template` as CollatorConfig.build has them."""

    def __init__(
        self,
        processors: Mapping[str, Processor],
        targets: Mapping[str, TargetProcessor],
        read: Reader,
        group: Group | None,
        blank: int,
    ) -> None:
        self.texts = [key for key, target in targets.items() if isinstance(target, TextTarget)]
        self.pad = Pad(processors, {key: target for key, target in targets.items() if key not in self.texts})
        self.read, self.group, self.blank = read, group, blank
        tokenizer, template = read.places.text.tokenizer, read.template
        self.template = None if template is None else template.source
        end = () if template is None else ending(template, tokenizer)
        self.stop = sorted({*end, *(each for each in (tokenizer.eos_token_id,) if each is not None)})

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """One batch. A sample without a text, which stands for rows that all were bad, is one token of which nothing counts."""
        batch = self.pad(samples)
        texts = [self.nothing() if each.text is None else each.text for each in samples]
        text = joined(texts, list(self.pad.processors))
        batch["inputs"]["text"] = text
        for key in self.texts:
            batch["targets"][key] = supervised(texts)
        batch["tokens"] = len(text["ids"])
        return batch

    def nothing(self) -> Text:
        """One token."""
        return Text(torch.tensor([self.blank]), torch.zeros(1))


def joined(texts: Sequence[Text], encoders: Sequence[str]) -> dict[str, Any]:
    """Texts one behind the other: `ids` (T,), `positions` (T,), `lengths`, and `media`, encoder -> places (P,)."""
    starts = beginnings(texts)
    none = torch.zeros(0, dtype=torch.int64)
    places = {key: [each.media.get(key, none) + start for each, start in zip(texts, starts, strict=True)] for key in encoders}
    return {
        "ids": torch.cat([each.ids for each in texts]),
        "positions": torch.cat([torch.arange(each.length) for each in texts]),
        "lengths": [each.length for each in texts],
        "media": {key: torch.cat(each) for key, each in places.items()},
    }


def supervised(texts: Sequence[Text]) -> dict[str, Tensor]:
    """Every token that counts, and the place before it, from which it is predicted (see TextTarget)."""
    before = [(each.weights[1:] > 0).nonzero()[:, 0] for each in texts]
    return {
        "index": torch.cat([start + place for start, place in zip(beginnings(texts), before, strict=True)]),
        "labels": torch.cat([each.ids[place + 1] for each, place in zip(texts, before, strict=True)]),
        "weights": torch.cat([each.weights[place + 1] for each, place in zip(texts, before, strict=True)]),
        "row": torch.repeat_interleave(torch.arange(len(texts)), torch.tensor([len(place) for place in before])),
    }


def beginnings(texts: Sequence[Text]) -> list[int]:
    """Where each text begins."""
    starts = [0]
    for each in texts[:-1]:
        starts.append(starts[-1] + each.length)
    return starts
