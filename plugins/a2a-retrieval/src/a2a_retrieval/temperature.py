"""What scores are divided by, fixed or learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from a2a_retrieval.scoring import wide


class Temperature(nn.Module):
    """1 / temperature (1,), which scores are multiplied by; `lowest` None: it is fixed."""

    def __init__(self, start: float, lowest: float | None) -> None:
        super().__init__()
        self.most = math.inf if lowest is None else -math.log(lowest)
        scale = torch.full((1,), -math.log(start))
        if lowest is None:
            self.register_buffer("logit_scale", scale)
        else:
            self.logit_scale = nn.Parameter(scale)

    def forward(self) -> Tensor:
        """As in CLIP the parameter itself is held back, so that it can turn around at the bound."""
        if self.training and isinstance(self.logit_scale, nn.Parameter):
            self.logit_scale.data.clamp_(max=self.most)  # `matryoshka` asks several times before it goes back
        return wide(self.logit_scale).clamp(max=self.most).exp()
