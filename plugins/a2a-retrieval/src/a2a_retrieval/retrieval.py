"""The metric `retrieval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from a2a_core.components import HeadConfig, Metric, MetricConfig
from a2a_core.errors import A2AError
from a2a_core.options import option
from a2a_retrieval.examples import examples
from a2a_retrieval.sides import embeds

if TYPE_CHECKING:
    from torch import Tensor, nn


class Retrieval(MetricConfig):
    """How well queries find the documents that answer them, among all documents of the split.

    The documents are the split's positives, each id once; its queries are searched for exactly, by dot product (MaxSim where
    there is a vector a token). What answers a query are the positives of all rows that have it, and its `relevant`, by its
    grades. What no row has as its positive was not found: `missing` counts such judgements, where there are any. A query
    without judgements is left out.

    Measures are those of trec_eval, equal scores ordered by id as there: `ndcg@10` (linear gains), `recall@k`, `precision@k`,
    `mrr@k`, `map@k` (of the k best, over all that answer), `hit_rate@k`; means over the queries. The metric's own value is the
    first of `measures` at 10, or at the first of `at` if 10 is none of these. Vectors beyond 1 GB lie in a temporary file; of
    several ranks each is given all of them.
    """

    name = "retrieval"
    at: tuple[int, ...] = option("how many of the best documents count, for each", default=(1, 10, 100), gt=0)
    measures: tuple[Literal["ndcg", "recall", "precision", "mrr", "map", "hit_rate"], ...] = option(
        "what is measured", default=("ndcg", "recall", "mrr", "map", "hit_rate")
    )
    both_ways: bool = option("search for the queries that a document answers, too: `reverse/…`", default=False)
    dimensions: tuple[int, ...] = option(
        "vectors cut to their first channels, too, as `matryoshka` trains them: `dim64/ndcg@10`", default=(), gt=0
    )

    def check(self) -> None:
        """Something is measured, and once."""
        for name in ("at", "measures", "dimensions"):
            given = getattr(self, name)
            if not given and name != "dimensions":
                raise ValueError(f"`{name}` is empty: nothing would be measured")
            if len(set(given)) < len(given):
                raise ValueError(f"`{name}` names {next(each for each in given if given.count(each) > 1)} more than once")

    def build(self, head: HeadConfig) -> Metric:
        """One that has seen nothing; A2AError for a head that embeds nothing."""
        from a2a_retrieval.measures import Measure
        from a2a_retrieval.retrieval_metric import RetrievalMetric

        embedding = embeds(self, head)
        own = Measure(self.measures[0], 10 if 10 in self.at else self.at[0])
        measures = [own, *(found for name in self.measures for k in self.at if (found := Measure(name, k)) != own)]
        return RetrievalMetric(embedding, measures, self.dimensions, self.both_ways)

    def refuse(self, head: nn.Module) -> None:
        """Vectors that have too few channels to cut."""
        for dimension in self.dimensions:
            if dimension > (channels := int(cast("Any", head).width)):
                raise A2AError(f"vectors of `heads.{self.head}` have {channels} channels, and cannot be cut to {dimension}")

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Both ways, and cut."""
        return cls(head="embedding", at=(1, 5), both_ways=True, dimensions=(4,))

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random vectors, and a judgement each; of the first also one of a document of another row."""
        import torch

        head, outputs, targets = examples(size)
        targets["query_id"] = targets["query_id"] * outputs["positive_mask"]
        names = torch.arange(size)[:, None] % 26 + torch.tensor([[97, 65]])
        relevant = torch.stack([targets["positive_id"], targets["positive_id"][0] * outputs["positive_mask"]], 1)
        judged = {"relevant": relevant, "relevance": torch.tensor([[1.0, 2.0]]).repeat(size, 1)}
        return head, outputs, targets | judged | {"query_name": names.byte(), "positive_name": names.flip(1).byte()}
