"""The module of the loss `triplet`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from a2a_retrieval import scoring
from a2a_retrieval.answers import everywhere, ids, known
from a2a_retrieval.in_batch_model import InBatch
from a2a_retrieval.own_documents import SIDES, judged
from a2a_retrieval.scoring import full_precision, unit, wide
from a2a_retrieval.step_documents import to_documents, to_queries


class TripletLoss(InBatch):
    """Sums over this rank's queries; `margin` None is a soft one."""

    def __init__(
        self, name: str, sides: Mapping[str, str], mining: str, distance: str, margin: float | None, symmetric: bool
    ) -> None:
        super().__init__(name, sides)
        self.mining, self.distance, self.margin, self.symmetric = mining, distance, margin, symmetric

    def counted(self, documents: Tensor) -> Tensor:
        """Where negatives are given there must be one."""
        return documents[:, 0] & documents[:, 1:].any(1) if self.mining == "given" else documents[:, 0]

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Without any, a 0 that depends on the outputs."""
        self.watch()
        with full_precision(outputs["query"]):
            if self.distance == "cosine":
                outputs = {**outputs, **{side: unit(wide(outputs[side])) for side in SIDES}}
            own, there = judged(outputs, self.own)
            if self.mining == "given":
                each = self.mined(own[:, 1:], own[:, :1], there[:, 1:])
            else:
                each = self.among_all(outputs, targets, own[:, :1])
            return {self.name: each.masked_fill(~there[:, 0], 0).sum()}

    def among_all(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], positive: Tensor) -> Tensor:
        """The loss of each row (B,), whose query and positive lie so far apart (B, 1)."""
        mine = ids(targets, outputs["negative"].shape[1])
        found, start = everywhere(mine)
        own = start + torch.arange(len(positive), device=positive.device)
        answers = known(mine.query, found.document, found.query, found.answers).scatter(1, own[:, None], True)
        loss = self.anchored(*to_documents(outputs, self.every), answers, positive)
        if not self.symmetric:
            return loss
        asking = known(found.query, mine.positive, found.query, found.answers).T.scatter(1, own[:, None], True)
        return (loss + self.anchored(*to_queries(outputs, self.every), asking, positive)) / 2

    def own(self, query: Tensor, mask: Tensor, document: Tensor, document_mask: Tensor) -> Tensor:
        """Distances to documents of a query's own (B, K)."""
        if self.distance == "cosine":
            return 1 - scoring.own(query, mask, document, document_mask)
        norms: Tensor = torch.linalg.vector_norm(query[:, None] - document, dim=-1)
        return norms

    def every(self, query: Tensor, mask: Tensor, document: Tensor, document_mask: Tensor) -> Tensor:
        """Distances to all documents (Q, M)."""
        if self.distance == "cosine":
            return 1 - scoring.every(query, mask, document, document_mask)
        return torch.cdist(query, document, compute_mode="donot_use_mm_for_euclid_dist")

    def anchored(self, distances: Tensor, there: Tensor, answers: Tensor, positive: Tensor) -> Tensor:
        """Distances (B, M) to what is there (M,) and belongs to the anchor or not (B, M) -> (B,)."""
        if self.mining == "hard":
            lowest = torch.finfo(distances.dtype).min
            farthest = distances.masked_fill(~(answers & there), lowest).amax(1, keepdim=True)
            positive = torch.maximum(positive, farthest)
        return self.mined(distances, positive, there & ~answers)

    def mined(self, distances: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
        """Of each anchor (B,): distances to what may be negatives (B, M), and to the positive (B, 1); 0 without negatives."""
        if self.mining in ("given", "all"):
            losses = self.missed(positive - distances).masked_fill(~negatives, 0)
            return losses.sum(1) / negatives.sum(1).clamp(min=1)
        most = torch.finfo(distances.dtype).max
        beyond = negatives & (distances > positive) if self.mining == "semi-hard" else negatives
        nearest = distances.masked_fill(~beyond, most).amin(1, keepdim=True)
        farthest = distances.masked_fill(~negatives, -most).amax(1, keepdim=True)
        chosen = torch.where(beyond.any(1, keepdim=True), nearest, farthest)
        chosen = torch.where(negatives.any(1, keepdim=True), chosen, positive)
        return self.missed(positive - chosen).masked_fill(~negatives.any(1, keepdim=True), 0)[:, 0]

    def missed(self, gap: Tensor) -> Tensor:
        """By how much a negative is not far enough."""
        return F.softplus(gap) if self.margin is None else (gap + self.margin).clamp(min=0)
