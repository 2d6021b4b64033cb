"""What heads have in common that embed queries and documents: which encoder gives which side, and what a row says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

import attrs

from a2a_core.components import Column, EncoderConfig, HeadConfig, LossConfig, MetricConfig, RecordingConfig
from a2a_core.errors import A2AError, suggest
from a2a_core.options import option
from a2a_core.structures import Widths
from a2a_retrieval.pairs import Pair, PairTarget, short

FILLED = "filled in by a2a when a model is built"


class SidesHead(HeadConfig):
    """A query, its positive, and negatives that are hard to tell from it: each side is an encoder's."""

    query: str = option("the encoder of queries", default="query", refers_to="encoders")
    positive: str = option("the encoder of the documents that answer them", default="positive", refers_to="encoders")
    negatives: str = option(
        "the encoder of hard negatives, `like` that of the positives (empty: there are none)", default="", refers_to="encoders"
    )
    positive_key: str = option(
        "the row's field that tells one positive from another (empty: `positive_id` where rows have it, else the content)",
        default="",
    )
    fields: dict[str, tuple[str, ...]] = option(f"the fields that its encoders read; {FILLED}", default={})
    weights: dict[str, str] = option(f"the encoders whose weights its encoders have; {FILLED}", default={})

    def check(self) -> None:
        """Each side has an encoder of its own name."""
        name, times = Counter(self.sides().values()).most_common(1)[0]
        if times > 1:
            raise ValueError(
                f'`{name}` is the encoder of {times} sides; give each its own, `like = "{name}"` where they share weights'
            )

    def sides(self) -> dict[str, str]:
        """Side -> encoder; no `negative` where there is none."""
        return {"query": self.query, "positive": self.positive} | ({"negative": self.negatives} if self.negatives else {})

    def resolved(self, column: Column) -> Self:
        """With the field that tells positives apart."""
        return self if self.positive_key else evolved(self, positive_key=named(column) or self.positive)

    def knowing(self, encoders: Mapping[str, EncoderConfig]) -> Self:
        """With the fields that its encoders read, and whose weights they have; A2AError where negatives have their own."""
        known = {key: encoders[key] for key in self.sides().values() if key in encoders}
        fields = {key: (encoder.field or key, *bounds(encoder)) for key, encoder in known.items()}
        weights = {key: encoder.like or key for key, encoder in known.items()}
        positive, negatives = weights.get(self.positive), weights.get(self.negatives)
        if positive and negatives and positive != negatives:
            raise A2AError(
                f"the encoders `{self.positive}` and `{self.negatives}` have different weights: negatives would be told from "
                "positives by their encoder, not by what they say",
                hint=f'write `like = "{positive}"` into [encoders.{self.negatives}]',
            )
        key = fields[self.positive][0] if self.positive_key == self.positive and self.positive in fields else self.positive_key
        copy: Self = evolved(self, fields=fields, weights=weights, positive_key=key)
        return copy

    def processor(self) -> PairTarget:
        """A row's ids, scores and judgements."""
        return PairTarget({side: self.fields.get(key, (key,)) for side, key in self.sides().items()})

    def describe(self, target: Pair) -> str:
        """Which answers which."""
        shown = f"{short(target.query or None)} -> {short(target.positive or None)}"
        count = len(target.negatives)
        shown += f", {count} negative{'s' if count > 1 else ''}" if count else ""
        return shown if target.score is None else f"{shown}, score {target.score:g}"

    def built_on(self, spec: Widths) -> tuple[dict[str, str], dict[str, int]]:
        """Side -> whose weights it has, and these' widths; A2AError for an encoder that is not there.

        Negatives have those of the positives.
        """
        for key in self.sides().values():
            if key not in spec.parts:
                text = f"the head `{self.name}` embeds what `{key}` gives, and no encoder has that name"
                raise A2AError(text, hint=suggest(key, spec.parts))
        query, positive = (self.weights.get(key, key) for key in (self.query, self.positive))
        owners = {"query": query, "positive": positive, "negative": positive}
        return owners, {query: spec.parts[self.query], positive: spec.parts[self.positive]}

    def examples(self) -> Sequence[Mapping[str, Any]]:
        """Questions and answers."""
        texts = (("how far", "a mile"), ("how long", "an hour"), ("how much", "a pound"))
        rows = [
            {self.query: query, self.positive: answer, "positive_id": place, "score": place, "relevant": {str(place): 2}}
            for place, (query, answer) in enumerate(texts)
        ]
        if not self.negatives:
            return [row | {"teacher_scores": [0.9]} for row in rows]
        return [row | {self.negatives: ["a yard"], "teacher_scores": [0.9, 0.1]} for row in rows]


def embeds(judge: LossConfig | MetricConfig, head: HeadConfig) -> SidesHead:
    """The head that a loss or a metric judges; A2AError where it embeds nothing."""
    if not isinstance(head, SidesHead):
        raise A2AError(
            f"the {judge.kind} `{judge.name}` judges a head that embeds queries and documents (`embedding`, `multi-vector`), "
            f"and `heads.{judge.head}` is `{head.name}`"
        )
    return head


def named(column: Column) -> str:
    """`positive_id` where a row has it."""
    try:
        return "positive_id" if any(value is not None for value in column("positive_id")) else ""
    except KeyError:
        return ""


def bounds(encoder: EncoderConfig) -> tuple[str, ...]:
    """The fields with which rows bound a segment of a recording."""
    return tuple(filter(None, (encoder.start, encoder.end))) if isinstance(encoder, RecordingConfig) else ()


def evolved(head: SidesHead, **changes: Any) -> Any:
    """A copy."""
    return attrs.evolve(cast("Any", head), **changes)
