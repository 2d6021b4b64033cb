"""The module of the head `lm`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from a2a_core import A2AError, Fused
from a2a_llm.chunks import chunks


class Lm(nn.Module):
    """States at supervised places; in evaluation also each label's `nll` (S,), and whether it is the likeliest (`right`)."""

    def forward(self, fused: Fused, inputs: Mapping[str, Any], targets: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
        """See LmHead."""
        if fused.hidden is None or fused.unembed is None:
            raise A2AError("a head `lm` needs a fusion that owns a vocabulary, such as `causal-lm`")
        if not targets:
            return {"hidden": fused.hidden, "unembed": fused.unembed}
        hidden = fused.hidden.index_select(0, targets["index"])
        found = {"hidden": hidden, "unembed": fused.unembed}
        return found if self.training else found | judged(hidden, fused.unembed, targets["labels"])


@torch.no_grad()
def judged(hidden: Tensor, unembed: Any, labels: Tensor) -> dict[str, Tensor]:
    """Negative log-likelihood of each label, in float32, and whether no other token is likelier."""
    nll = torch.zeros(labels.shape, dtype=torch.float32, device=labels.device)
    right = torch.zeros_like(labels, dtype=torch.bool)
    for rows in chunks(unembed, hidden):
        logits = unembed(hidden[rows]).float()
        nll[rows] = logits.logsumexp(1) - logits.gather(1, labels[rows, None])[:, 0]
        right[rows] = logits.argmax(1) == labels[rows]
    return {"nll": nll, "right": right}
