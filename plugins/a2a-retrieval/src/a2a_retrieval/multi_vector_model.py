"""The module of the head `multi-vector`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from a2a_core.structures import Tokens
from a2a_retrieval.scoring import unit
from a2a_retrieval.sides_model import Sides, projected, projections


class MultiVector(Sides):
    """Tokens of items -> vectors (N, T, D), and which are real (N, T)."""

    def __init__(
        self, encoders: Mapping[str, str], owners: Mapping[str, str], widths: Mapping[str, int], dimension: int
    ) -> None:
        super().__init__(encoders, owners)
        self.width = dimension
        self.projections = projections(widths, dimension)

    def vectors(self, side: str, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """(N, T, D), 0 where no token is, and the mask (N, T)."""
        found = unit(projected(tokens.values, self.owners[side], self.projections))
        return found.masked_fill(~tokens.mask[..., None], 0), tokens.mask

    def embedded(self, side: str, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """As `vectors`."""
        return self.vectors(side, tokens)
