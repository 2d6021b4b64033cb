"""The module of the loss `infonce`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from a2a_retrieval.answers import Ids, everywhere, ids, known
from a2a_retrieval.in_batch_model import InBatch
from a2a_retrieval.own_documents import judged, paired
from a2a_retrieval.scoring import full_precision
from a2a_retrieval.step_documents import to_documents, to_queries
from a2a_retrieval.temperature import Temperature


class InfoNceModule(InBatch):
    """The sum over this rank's pairs, each among the documents of all ranks, or among its own alone."""

    def __init__(
        self,
        name: str,
        sides: Mapping[str, str],
        temperature: Temperature,
        in_batch: bool,
        symmetric: bool,
        mask_known: bool,
    ) -> None:
        super().__init__(name, sides)
        self.temperature = temperature
        self.in_batch, self.symmetric, self.mask_known = in_batch, symmetric, mask_known

    def counted(self, documents: Tensor) -> Tensor:
        """Of a row's own documents alone there must be several."""
        pairs = documents[:, 0]
        return pairs if self.in_batch else pairs & documents[:, 1:].any(1)

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Without any pair, a 0 that depends on the outputs."""
        self.watch()
        with full_precision(outputs["query"]):
            each = self.among_all(outputs, targets) if self.in_batch else self.among_own(outputs, targets)
            return {self.name: each.masked_fill(~paired(outputs), 0).sum()}

    def among_all(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """The loss of each row (B,), whose positive is one of the documents of all rows."""
        found, start = everywhere(ids(targets, outputs["negative"].shape[1]))
        own = start + torch.arange(len(outputs["query"]), device=outputs["query"].device)
        scale = self.temperature()
        scores, there = to_documents(outputs)
        loss = sought(scale * scores, there & self.wrong(found, found.query[own], found.document), own)
        if not self.symmetric:
            return loss
        scores, there = to_queries(outputs)
        back = sought(scale * scores, there & self.wrong(found, found.query, found.positive[own]).T, own)
        return (loss + back) / 2

    def wrong(self, found: Ids, query: Tensor, document: Tensor) -> Tensor:
        """Which documents (M,) may be negatives of a query (Q, M)."""
        if not self.mask_known:
            return torch.ones(len(query), len(document), dtype=torch.bool, device=query.device)
        return ~known(query, document, found.query, found.answers)

    def among_own(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """The loss of each row (B,), whose positive is one of its own documents."""
        scores, there = judged(outputs)
        own = torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
        if self.mask_known:
            found = ids(targets, outputs["negative"].shape[1])
            answers = (found.negative[..., None] == found.answers[:, None]).any(-1) & (found.negative != 0)
            there = there & ~F.pad(answers, (1, 0))
        return sought(self.temperature() * scores, there, own)


def sought(logits: Tensor, candidates: Tensor, own: Tensor) -> Tensor:
    """-log of the probability that each row (B, M) gives to its own column, among that and the candidates: (B,)."""
    candidates = candidates.scatter(1, own[:, None], True)
    return F.cross_entropy(logits.masked_fill(~candidates, torch.finfo(logits.dtype).min), own, reduction="none")
