"""The module of the loss `mse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Mse(nn.Module):
    """Totals over a batch, and what they are to be divided by."""

    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.reduction = reduction

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Samples with a target, times their numbers unless `reduction` says otherwise."""
        each = targets["value"].shape[1] if self.reduction == "mean" else 1
        return {"mse": targets["here"].sum() * each}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sum over all samples with a target; without any, a 0 that depends on the outputs."""
        difference = outputs["value"].to(torch.promote_types(outputs["value"].dtype, torch.float32)) - targets["value"]
        return {"mse": difference.masked_fill(~targets["here"][:, None], 0).square().sum()}
