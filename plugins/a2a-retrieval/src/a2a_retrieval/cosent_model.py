"""The module of the loss `cosent`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from a2a_core.gathering import all_rows
from a2a_retrieval import scoring
from a2a_retrieval.own_documents import offered, paired
from a2a_retrieval.scoring import full_precision, unit, wide


class CoSentLoss(nn.Module):
    """The loss of the step, once for each scored row of this rank."""

    def __init__(self, sides: Mapping[str, str], scale: float) -> None:
        super().__init__()
        self.sides, self.scale = {side: sides[side] for side in ("query", "positive")}, scale

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rows with a query, a positive and a score."""
        return {"cosent": (offered(inputs, self.sides)[:, 0] & targets["score"].isfinite()).sum()}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Without scored rows, a 0 that depends on the outputs."""
        with full_precision(outputs["query"]):
            query, positive = (unit(wide(outputs[side])) for side in ("query", "positive"))
            masks = outputs["query_mask"], outputs["positive_mask"][:, None]
            cosines = scoring.own(query, masks[0], positive[:, None], masks[1])[:, 0]
            own = paired(outputs) & targets["score"].isfinite()
            (cosines, scores, scored), _ = all_rows(cosines, targets["score"], own)
            higher = (scores[:, None] > scores) & scored[:, None] & scored
            pairs = (self.scale * (cosines - cosines[:, None])).masked_fill(~higher, -torch.inf)
            return {"cosent": own.sum() * torch.cat([cosines.new_zeros(1), pairs.flatten()]).logsumexp(0)}
