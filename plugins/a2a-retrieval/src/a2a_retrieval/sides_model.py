"""What modules of heads have in common that embed queries and documents."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from a2a_core.errors import A2AError
from a2a_core.structures import Fused, Tokens
from a2a_retrieval.own_documents import paired, similarity
from a2a_retrieval.scoring import wide


class Sides(nn.Module):
    """Each side's items as vectors by sample: `<side>` and `<side>_mask`; of negatives S a sample, 0 without an encoder.

    `encoders` says whose tokens a side reads, `owners` under whose name the weights lie that embed them.
    """

    width: int
    """Channels of a vector."""

    def __init__(self, encoders: Mapping[str, str], owners: Mapping[str, str]) -> None:
        super().__init__()
        self.encoders, self.owners = dict(encoders), dict(owners)

    @abstractmethod
    def embedded(self, side: str, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Vectors of N items (N, …, D), and which of them are real (N, …)."""

    def forward(self, fused: Fused, inputs: Mapping[str, Any], targets: Any = None) -> dict[str, Tensor]:
        """What a sample has not is 0, and false in the mask."""
        outputs: dict[str, Tensor] = {}
        for side, key in self.encoders.items():
            tokens = fused.encoded[key]
            if tokens.slots > 1 and side != "negative":
                raise A2AError(f"`{key}` holds up to {tokens.slots} items a row, and a row has one {side}")
            for name, value in zip((side, f"{side}_mask"), self.embedded(side, tokens), strict=True):
                by_slot = placed(value, tokens, fused.size)
                outputs[name] = by_slot if side == "negative" else by_slot[:, 0]
        if "negative" not in self.encoders:
            for name, like in (("negative", outputs["positive"]), ("negative_mask", outputs["positive_mask"])):
                outputs[name] = like.new_zeros(fused.size, 0, *like.shape[1:])
        return outputs

    def predict(self, outputs: Mapping[str, Tensor]) -> list[float | None]:
        """The similarity of each query and its positive; None where one is missing."""
        both = zip(similarity(outputs).tolist(), paired(outputs).tolist(), strict=True)
        return [score if here else None for score, here in both]


def placed(values: Tensor, tokens: Tokens, size: int) -> Tensor:
    """What items have (N, …) by sample (B, slots, …), zeros where a sample has none."""
    if tokens.row is None or tokens.slot is None:
        return values[:, None]
    return values.new_zeros(size, tokens.slots, *values.shape[1:]).index_put((tokens.row, tokens.slot), values)


def projections(widths: Mapping[str, int], dimension: int | None) -> nn.ModuleDict:
    """One without bias for each of those that have weights; without a dimension, none is needed."""
    made = {} if dimension is None else {key: nn.Linear(width, dimension, bias=False) for key, width in widths.items()}
    return nn.ModuleDict(made)


def projected(vectors: Tensor, owner: str, by: nn.ModuleDict) -> Tensor:
    """Vectors (…, C) in the common space (…, D), in float32 at least."""
    if owner not in by:
        return wide(vectors)
    layer: Any = by[owner]
    return wide(layer(vectors.to(layer.weight.dtype)))
