"""Weights of classes in a module: part of the recipe, not of what was trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Weighted(nn.Module):
    """A module with buffers (C,), or None, that are not saved but written again."""

    class_weights: Tensor | None
    pos_weights: Tensor | None

    def __init__(self, **given: Sequence[float] | None) -> None:
        super().__init__()
        self.given = given
        for name, values in given.items():
            buffer = None if values is None else torch.tensor(values, dtype=torch.float32)
            self.register_buffer(name, buffer, persistent=False)

    def reset_buffers(self) -> None:
        """Write the weights again."""
        for name, values in self.given.items():
            if values is not None:
                self.get_buffer(name).copy_(torch.tensor(values))
