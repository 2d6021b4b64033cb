"""The source `mix`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from a2a_core.components import SourceConfig
from a2a_core.errors import suggest
from a2a_core.options import option
from a2a_data.jsonl import JsonlSource

if TYPE_CHECKING:
    from a2a_core.components import Rows


class WeightedSources(SourceConfig):
    """What mixes of sources have in common."""

    sources: dict[str, SourceConfig] = option("name = the source, a table with `use` and its keys")
    weights: dict[str, float] = option("name = its part of the rows, for every source; none: every row once", default={})

    def check(self) -> None:
        """Names that ids can begin with; a weight for every source, none for others, and not all 0."""
        if not self.sources:
            raise ValueError("`sources` names no source")
        slashed = [name for name in self.sources if "/" in name]
        if slashed:
            raise ValueError(f"the name of the source `{slashed[0]}` has a `/`, which ends it in the rows' ids")
        unknown = [name for name in self.weights if name not in self.sources]
        if unknown:
            raise ValueError(f"`weights` names `{unknown[0]}`, which is no source: {suggest(unknown[0], self.sources)}")
        missing = [name for name in self.sources if self.weights and name not in self.weights]
        if missing:
            raise ValueError(f"`weights` says nothing about the source `{missing[0]}` (0 leaves it out)")
        wrong = [name for name, weight in self.weights.items() if not (weight >= 0 and math.isfinite(weight))]
        if wrong:
            raise ValueError(f"the weight of `{wrong[0]}` must be a number >= 0, got {self.weights[wrong[0]]}")
        if self.weights and not any(self.weights.values()):
            raise ValueError("all `weights` are 0: the mix would have no rows")

    def shared(self) -> dict[str, SourceConfig]:
        """The sources that have a share."""
        return {name: source for name, source in self.sources.items() if not self.weights or self.weights[name]}

    def canonical(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """As the first of its sources that does something to such a row; ValueError where one refuses it, and none takes it."""
        refused: ValueError | None = None
        for source in self.sources.values():
            try:
                found = source.canonical(fields)
            except ValueError as error:
                refused = refused or error
                continue
            if found != fields:
                return found
        if refused is not None:
            raise refused
        return fields


class MixSource(WeightedSources):
    """Several sources as one, each with its share of an epoch's rows.

    `weights = {a = 2, b = 1}`: of three rows two come from `a`, exactly (to the row), not by chance. With `stop = "all"`
    an epoch ends when every source has been read completely: the others' rows come again. With `stop = "first"` it ends
    when the first source has been: no row comes twice, and of the others some never come. Where a source is not read a
    whole number of times, `seed` chooses the rows that come once more (or at all), the same ones in every epoch. Without
    weights every row comes once.

    `temperature = T` makes weights of the sources' lengths: each weighs length^(1/T) (T5, arXiv 1910.10683, section 3.5.2).
    1 leaves the shares as they are, 2 takes their square root, a large T makes them equal.

    The sources may have different fields: a modality that a source lacks is absent from its rows. Row by row the sources
    alternate evenly, each in its own order; a trainer that shuffles shuffles them all. Ids are `<source>/<id>`, places
    `<source>: <place>`; media paths start in the folder of the row's own file.
    """

    name = "mix"
    temperature: float | None = option("in place of weights: each source weighs length^(1/temperature)", default=None, ge=1)
    stop: Literal["first", "all"] = option("the epoch ends when the first source, or all, were read completely", default="all")
    seed: int = option("chooses the rows of passes that are not complete", default=0, ge=0)

    def check(self) -> None:
        """Weights that go together, or a temperature."""
        super().check()
        streams = [name for name, source in self.sources.items() if source.streams]
        if streams:
            raise ValueError(f"the rows of the source `{streams[0]}` come as a stream: mix them with `streaming-mix`")
        if self.weights and self.temperature is not None:
            raise ValueError("`weights` and `temperature` both say what the shares are: leave one out")

    def build(self) -> Rows:
        """Open the sources that have a share."""
        from a2a_data.mix_rows import MixRows, tempered

        rows = {name: source.build() for name, source in self.shared().items()}
        return MixRows(rows, self.weights or tempered(rows, self.temperature), self.stop, self.seed)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Two files of lines, one of them twice."""
        folders = {name: folder / name for name in ("a", "b")}
        for each in folders.values():
            each.mkdir(exist_ok=True)
        return cls(sources={name: JsonlSource.tiny(each) for name, each in folders.items()}, weights={"a": 2.0, "b": 1.0})
