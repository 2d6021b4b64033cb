"""The module of the head `align`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from a2a_core.structures import Fused, Tokens


class Align(nn.Module):
    """Two encoders' tokens -> `first`, `second` (B, projection_dim) and `both` (B,)."""

    def __init__(self, first: str, first_width: int, second: str, second_width: int, projection_dim: int) -> None:
        super().__init__()
        self.names = first, second
        self.first = nn.Linear(first_width, projection_dim, bias=False)
        self.second = nn.Linear(second_width, projection_dim, bias=False)

    def forward(self, fused: Fused, inputs: Mapping[str, Any], targets: Any = None) -> dict[str, Tensor]:
        """Embeddings, and which samples have both."""
        one, other = (fused.encoded[name] for name in self.names)
        return {
            "first": normalised(self.first(pooled(one, fused.size))),
            "second": normalised(self.second(pooled(other, fused.size))),
            "both": present(one.row, fused.size, one.mask.device) & present(other.row, fused.size, other.mask.device),
        }

    def predict(self, outputs: Mapping[str, Tensor]) -> list[float | None]:
        """The cosine of each pair."""
        cosines = (outputs["first"] * outputs["second"]).sum(-1).tolist()
        return [cosine if both else None for cosine, both in zip(cosines, outputs["both"].tolist(), strict=True)]


def pooled(tokens: Tokens, size: int) -> Tensor:
    """The mean of each sample's real tokens (B, C), 0 without any."""
    values, mask, *_ = tokens.by_sample(size)
    total = values.masked_fill(~mask[..., None], 0).sum(1)
    return total / mask.sum(1, keepdim=True).clamp(min=1)


def normalised(vectors: Tensor) -> Tensor:
    """Of length 1, in float32 at least; what is 0 stays so."""
    return F.normalize(vectors.to(torch.promote_types(vectors.dtype, torch.float32)), dim=-1, eps=1e-6)


def present(row: Tensor | None, size: int, device: torch.device) -> Tensor:
    """Which samples have an item (B,), by the samples of the items; without these, all."""
    here = torch.full((size,), row is None, device=device)
    return here if row is None else here.index_fill(0, row, True)
