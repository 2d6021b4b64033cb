"""What the heads are made of."""

from __future__ import annotations

from torch import nn


def layers(width: int, out: int, hidden_size: int, dropout: float, bias: bool = True) -> nn.Sequential:
    """(…, width) -> (…, out), with a hidden layer if it has a size; `bias` is the last layer's."""
    if not hidden_size:
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, out, bias))
    hidden = nn.Dropout(dropout), nn.Linear(width, hidden_size), nn.GELU()
    return nn.Sequential(*hidden, nn.Dropout(dropout), nn.Linear(hidden_size, out, bias))
