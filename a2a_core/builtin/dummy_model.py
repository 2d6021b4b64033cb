"""The module of the encoder `dummy`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from a2a_core.structures import Tokens


class DummyTokens(nn.Module):
    """Learned tokens (T, C), the same for each of N media."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.tokens = nn.Parameter(torch.empty(tokens, width))
        nn.init.normal_(self.tokens, std=0.02)

    def forward(self, there: Tensor) -> Tokens:
        """(N,) -> (N, T, C)."""
        size = there.shape[0]
        mask = torch.ones(size, self.tokens.shape[0], dtype=torch.bool, device=there.device)
        return Tokens(self.tokens.expand(size, -1, -1), mask)
