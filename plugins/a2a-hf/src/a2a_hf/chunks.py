"""A rank's share of a step, cut into chunks that are computed one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from a2a_core import Batch
from a2a_core.data import BadRow, Collate
from a2a_core.structures import Sample


class Chunks(Collate):
    """Samples to `chunks`, a batch each, and the `bad` rows; runs where the collator does, in the workers.

    A chunk has at most `rows` samples and, padded, at most `tokens` tokens (0: any number); a sample that is longer is a chunk
    by itself. The samples come in the order of their lengths: what is padded together is alike, and the longest come last.
    """

    def __init__(self, collate: Collate, rows: int, tokens: int) -> None:
        super().__init__(collate.collate)
        self.rows, self.tokens = rows, tokens

    def __call__(self, samples: Sequence[Sample | BadRow]) -> Batch:
        """One step's share; of bad rows alone it is one chunk that counts nothing."""
        good = sorted((sample for sample in samples if isinstance(sample, Sample)), key=lambda sample: Size().taking(sample))
        chunks = [super(Chunks, self).__call__(chunk) for chunk in list(self.cut(good)) or [[]]]
        bad = [row for row in samples if isinstance(row, BadRow)]
        return {"chunks": chunks, "bad": bad}

    def cut(self, samples: Sequence[Sample]) -> Iterator[list[Sample]]:
        """Samples one behind the other, as many at once as fit."""
        chunk: list[Sample] = []
        size = Size()
        for sample in samples:
            several = size.taking(sample)
            if chunk and (len(chunk) == self.rows or 0 < self.tokens < several):
                yield chunk
                chunk, size = [], Size()
                size.taking(sample)
            chunk.append(sample)
        if chunk:
            yield chunk


class Size:
    """Tokens that a batch of samples has: of each modality all items as long as the longest, and the texts as they are."""

    def __init__(self) -> None:
        self.items: dict[str, tuple[int, int]] = {}
        """How many, and the longest one's tokens."""
        self.text = 0

    def taking(self, sample: Sample) -> int:
        """The size with one more sample."""
        for key, items in sample.items.items():
            several, longest = self.items.get(key, (0, 0))
            self.items[key] = several + len(items), max([longest, *(item.length for item in items)])
        self.text += sample.text.length if sample.text is not None else 0
        return self.text + sum(several * longest for several, longest in self.items.values())
