"""The module of the loss `coral`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from a2a_classification.labels import IGNORED


class Coral(nn.Module):
    """Totals over a batch, and what they are to be divided by."""

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The labelled samples."""
        return {"coral": (targets["label"] != IGNORED).sum()}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sum over the labelled samples; without any, a 0 that depends on the logits."""
        label = targets["label"][:, None]
        here = label != IGNORED
        logits = outputs["cumulative"].to(torch.promote_types(outputs["cumulative"].dtype, torch.float32))
        logits = logits.masked_fill(~here, 0)
        above = torch.arange(logits.shape[1], device=logits.device) < label
        weight = here.to(logits.dtype).expand_as(logits)
        return {"coral": F.binary_cross_entropy_with_logits(logits, above.to(logits.dtype), weight, reduction="sum")}
