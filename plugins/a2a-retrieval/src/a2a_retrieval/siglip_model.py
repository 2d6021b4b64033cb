"""The module of the loss `siglip`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from a2a_retrieval.answers import everywhere, ids, known
from a2a_retrieval.in_batch_model import InBatch
from a2a_retrieval.own_documents import paired
from a2a_retrieval.scoring import full_precision
from a2a_retrieval.step_documents import to_documents
from a2a_retrieval.temperature import Temperature


class SigLipModule(InBatch):
    """The sum over this rank's pairs, each with the documents of all ranks."""

    def __init__(
        self, name: str, sides: Mapping[str, str], temperature: Temperature, bias: float, learn_bias: bool, mask_known: bool
    ) -> None:
        super().__init__(name, sides)
        self.temperature, self.mask_known = temperature, mask_known
        start = torch.full((1,), bias)
        if learn_bias:
            self.logit_bias = nn.Parameter(start)
        else:
            self.register_buffer("logit_bias", start)

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Without any pair, a 0 that depends on the outputs."""
        self.watch()
        with full_precision(outputs["query"]):
            found, start = everywhere(ids(targets, outputs["negative"].shape[1]))
            scores, there = to_documents(outputs)
            place = start + torch.arange(len(scores), device=scores.device)
            own = torch.zeros_like(scores, dtype=torch.bool).scatter(1, place[:, None], True)
            compared = there | own
            if self.mask_known:
                compared = compared & ~known(found.query[place], found.document, found.query, found.answers) | own
            logits = self.temperature() * scores + self.logit_bias
            each = F.softplus(torch.where(own, -logits, logits)).masked_fill(~compared, 0).sum(1)
            return {self.name: each.masked_fill(~paired(outputs), 0).sum()}
