"""The module of the projector `mlp`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from a2a_core.structures import Tokens


class MlpTokens(nn.Module):
    """Linear layers of these sizes over tokens, GELU between them; mask and places pass through."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        linear = [nn.Linear(width, out) for width, out in pairwise(sizes)]
        self.layers = nn.Sequential(*[each for layer in linear for each in (layer, nn.GELU())][:-1])

    def forward(self, tokens: Tokens) -> Tokens:
        """(N, T, width) -> (N, T, out)."""
        return tokens._replace(values=self.layers(tokens.values))
