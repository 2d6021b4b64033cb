"""The source `streaming-mix`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from a2a_core.options import option
from a2a_data.mix import WeightedSources
from a2a_streaming.jsonl import StreamingJsonlSource

if TYPE_CHECKING:
    from a2a_core.streams import Stream


class StreamingMixSource(WeightedSources):
    """Several streaming sources as one, each with its share of the rows; each shuffles its own.

    `weights = {a = 2, b = 1}`: of three rows two come from `a`, exactly, not by chance, in every lane that an epoch is dealt
    out in. Rows that cannot be read have no share. With `stop = "all"` a lane ends when it has read its part of every source:
    parts that are shorter come again, in another order. With `stop = "first"` it ends with the first part: no row comes
    twice, and of the others some never come. Without weights every row comes once: the sources alternate to their ends.

    Ids are `<source>/<id>`, places `<source>: <place>`; media paths start in the folder of the row's own file.
    """

    name = "streaming-mix"
    streams = True
    stop: Literal["first", "all"] = option("an epoch ends when the first source, or all, were read completely", default="all")

    def check(self) -> None:
        """Sources that stream, and weights for them."""
        super().check()
        still = next((name for name, source in self.sources.items() if not source.streams), None)
        if still is not None:
            raise ValueError(f"the source `{still}`, `{self.sources[still].name}`, does not stream; `mix` takes such sources")

    def build(self) -> Stream:
        """Open the sources that have a share."""
        from a2a_streaming.mix_stream import MixStream

        streams: dict[str, Any] = {name: source.build() for name, source in self.shared().items()}
        return MixStream(streams, self.weights, self.stop)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Lines of two folders."""
        folders = {name: folder / name for name in ("a", "b")}
        for each in folders.values():
            each.mkdir(exist_ok=True)
        return cls(sources={name: StreamingJsonlSource.tiny(each) for name, each in folders.items()})
