"""The metric `spearman`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from a2a_core.components import HeadConfig, Metric, MetricConfig
from a2a_retrieval.examples import examples
from a2a_retrieval.sides import embeds

if TYPE_CHECKING:
    from torch import Tensor


class Spearman(MetricConfig):
    """How well the similarity of pairs orders them as their `score` does (semantic textual similarity).

    Spearman's rank correlation of cosine and score, equal values having their mean rank, and `pearson`, the correlation of the
    values themselves. Of a head with a vector a token the similarity is MaxSim. Rows without query, positive or score are left
    out; NaN where fewer than two different values are left.
    """

    name = "spearman"

    def build(self, head: HeadConfig) -> Metric:
        """One that has seen nothing; A2AError for a head that embeds nothing."""
        from a2a_retrieval.spearman_metric import SpearmanMetric

        embeds(self, head)
        return SpearmanMetric()

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """As it is."""
        return cls(head="embedding")

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random vectors, and scores of which some are equal."""
        head, outputs, targets = examples(size)
        return head, outputs, targets | {"score": (targets["score"] * 4).round()}
