"""The module of the loss `matryoshka`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from a2a_core.errors import A2AError
from a2a_retrieval.matryoshka import too_wide
from a2a_retrieval.own_documents import SIDES
from a2a_retrieval.scoring import unit, wide


class MatryoshkaLoss(nn.Module):
    """A loss, `term`, of vectors that are cut."""

    def __init__(
        self, inner: nn.Module, term: str, dimensions: Sequence[int], weights: Sequence[float], normalise: bool
    ) -> None:
        super().__init__()
        self.inner, self.term, self.normalise = inner, term, normalise
        self.weights = dict(zip(dimensions, weights, strict=True))

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As the loss counts."""
        inner: Any = self.inner
        return {"matryoshka": inner.count(inputs, targets)[self.term]}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weighted sum; A2AError where vectors have too few channels."""
        most, width = max(self.weights), outputs["query"].shape[-1]
        if most > width:
            raise A2AError(too_wide(most, f"its head makes vectors of {width}"))
        totals = [weight * self.inner(self.cut(outputs, size), targets)[self.term] for size, weight in self.weights.items()]
        return {"matryoshka": torch.stack(totals).sum()}

    def cut(self, outputs: Mapping[str, Tensor], size: int) -> dict[str, Tensor]:
        """Outputs with the first channels of each vector, in float32 at least."""
        prefixes = ("", "teacher/") if getattr(self.inner, "beside_is_cut", False) else ("",)
        found = dict(outputs)
        for name in (f"{prefix}{side}" for prefix in prefixes for side in SIDES):
            vectors = wide(outputs[name][..., :size])
            found[name] = unit(vectors) if self.normalise else vectors
        return found
