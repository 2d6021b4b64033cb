"""What losses have in common that compare a query with the documents of other rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from a2a_core.errors import A2AError
from a2a_core.ranks import together
from a2a_retrieval.own_documents import offered

LONELY = 100
"""Steps in a row with nothing to compare: no chance any more."""


class InBatch(nn.Module):
    """Counts rows that have both a query and a positive, and says when there is never more than one to compare."""

    def __init__(self, name: str, sides: Mapping[str, str]) -> None:
        super().__init__()
        self.name, self.sides = name, dict(sides)
        self.pairs: int | None = None
        self.lonely = 0

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Such rows of a batch, one of several that a step may have."""
        documents = offered(inputs, self.sides)
        if self.training:  # a pair with a negative is not alone
            self.pairs = (self.pairs or 0) + int(documents[:, 0].sum()) + int((documents[:, :1] & documents[:, 1:]).any())
        return {self.name: self.counted(documents).sum()}

    def counted(self, documents: Tensor) -> Tensor:
        """Which rows (B,), by which of their documents there are (B, 1 + S)."""
        return documents[:, 0]

    def watch(self) -> None:
        """A2AError where no step of this only rank has anything to compare; called where a step's rows are."""
        if self.pairs is None or not self.training or together():
            return
        self.lonely = 0 if self.pairs > 1 else self.lonely + 1
        self.pairs = None
        if self.lonely == LONELY:
            query, positive = self.sides["query"], self.sides["positive"]
            raise A2AError(
                f"the loss `{self.name}` compares `{query}` with `{positive}`, and for {LONELY} steps there was at most "
                "one, without negatives: nothing is learned",
                hint="raise `trainer.batch_size`, or train on more rows that have both, or on `negatives`",
            )
