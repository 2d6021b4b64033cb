"""What the metric `spearman` keeps and computes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import rankdata
from torch.nn import functional as F

from a2a_retrieval import scoring


class SpearmanMetric:
    """How often each pair of similarity and score was seen."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[float, float]] = Counter()

    def update(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        """Take one batch."""
        query, positive = (scoring.wide(outputs[side].detach()) for side in ("query", "positive"))
        masks = outputs["query_mask"], outputs["positive_mask"]
        if query.dim() == 3:
            similar = scoring.own(query, masks[0], positive[:, None], masks[1][:, None])[:, 0]
            here = masks[0].any(1) & masks[1].any(1)
        else:
            similar, here = F.cosine_similarity(query, positive, dim=-1), masks[0] & masks[1]
        here = here.cpu() & targets["score"].cpu().isfinite()
        self.seen.update(zip(similar.cpu()[here].tolist(), targets["score"].cpu()[here].tolist(), strict=True))

    def state(self) -> dict[tuple[float, float], int]:
        """The counts."""
        return dict(self.seen)

    def merge(self, state: Any) -> None:
        """Add another rank's."""
        self.seen.update(state)

    def compute(self) -> dict[str, float]:
        """Both correlations, whatever the order in which pairs were seen."""
        pairs = np.array(sorted(self.seen.elements()), dtype=np.float64).reshape(-1, 2).T
        return {"spearman": correlation(*map(rankdata, pairs)), "pearson": correlation(*pairs)}


def correlation(one: Any, other: Any) -> float:
    """Pearson's; NaN where one of them does not vary."""
    if len(one) < 2 or not (np.ptp(one) and np.ptp(other)):
        return math.nan
    return float(np.corrcoef(one, other)[0, 1])
