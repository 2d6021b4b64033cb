"""Pictures mirrored in training: the one change of a picture that hardly ever changes what it shows."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Mirror(nn.Module):
    """In training half of the pictures (N, channels, H, W), drawn anew each time, get left and right exchanged.

    It is a part of the encoder because a processor is deterministic. A frozen encoder is in evaluation mode, and mirrors none.
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """The same shape."""
        if not self.training:
            return pixel_values
        chosen = torch.rand(len(pixel_values), 1, 1, 1, device=pixel_values.device) < 0.5
        return torch.where(chosen, pixel_values.flip(-1), pixel_values)
