"""The projector `linear`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from a2a_core.components import ProjectorConfig
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import nn


class LinearProjector(ProjectorConfig):
    """One linear layer from an encoder's width to the fusion's; put in by itself where the two differ."""

    name = "linear"
    bias: bool = option("add a bias", default=True)

    def build(self, width: int, out: int) -> nn.Module:
        """Tokens (N, T, width) -> Tokens (N, T, out)."""
        from a2a_core.builtin.linear_model import LinearTokens

        return LinearTokens(width, out, self.bias)
