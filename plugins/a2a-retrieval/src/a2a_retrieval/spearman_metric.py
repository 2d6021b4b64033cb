"""What the metric `spearman` keeps and computes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import rankdata

from a2a_retrieval.own_documents import paired, similarity


class SpearmanMetric:
    """How often each pair of similarity and score was seen."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[float, float]] = Counter()

    def update(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        """Take one batch."""
        scores = targets["score"].cpu()
        here = paired(outputs).cpu() & scores.isfinite()
        self.seen.update(zip(similarity(outputs).detach().cpu()[here].tolist(), scores[here].tolist(), strict=True))

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
