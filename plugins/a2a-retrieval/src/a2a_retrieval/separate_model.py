"""The module of fusion `separate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from a2a_core.structures import Fused, Tokens


class SeparateModel(nn.Module):
    """Hands on what it is given."""

    input_width = width = None
    parts: tuple[str, ...] = ()

    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        """Tokens by item, for each encoder."""
        return Fused(inputs["size"], parts=dict(encoded))
