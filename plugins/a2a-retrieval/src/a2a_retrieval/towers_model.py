"""The modules of the encoders `clip-text` and `clip-image`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import (
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
    SiglipTextModel,
    SiglipVisionModel,
)

from a2a_core import Tokens
from a2a_core.pretrained.configuration import configuration
from a2a_core.pretrained.weights import load_pretrained, refill_buffers
from a2a_vision.hf_vision_model import call_options
from a2a_vision.resampling import Size

TOWERS: Final[Mapping[str, tuple[Any, str]]] = {
    "clip_text_model": (CLIPTextModelWithProjection, "text_embeds"),
    "clip_vision_model": (CLIPVisionModelWithProjection, "image_embeds"),
    "siglip_text_model": (SiglipTextModel, "pooler_output"),
    "siglip_vision_model": (SiglipVisionModel, "pooler_output"),
}
"""Model type -> class, and where in its output the projected vector stands."""
WIDTHS: Final = {"siglip_text_model": "projection_size", "siglip_vision_model": "hidden_size"}


class TowerModel(nn.Module):
    """A tower of transformers in float32 with its own initialisation."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        owner, self.field = TOWERS[config["model_type"]]
        read = configuration(config)
        self.model: Any = owner._from_config(read, dtype=torch.float32)
        self.width = int(getattr(read, WIDTHS.get(read.model_type, "projection_dim")))

    def token(self, **inputs: Any) -> Tokens:
        """What the tower makes of its inputs, (N, 1, width)."""
        values: Tensor = getattr(self.model(**inputs), self.field)[:, None]
        return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))

    def reset_buffers(self) -> None:
        """Refill what no file holds."""
        refill_buffers(self.model)


class TextTowerModel(TowerModel):
    """No mask is needed: CLIP looks back only, and SigLIP sees its padding."""

    def forward(self, input_ids: Tensor) -> Tokens:
        """(N, T) -> (N, 1, width)."""
        return self.token(input_ids=input_ids)


class ImageTowerModel(TowerModel):
    """Positions are interpolated where pictures are of another size than the model was made for."""

    def __init__(self, config: Mapping[str, Any], size: Size) -> None:
        super().__init__(config)
        tower = getattr(self.model, "vision_model", self.model)
        self.options = call_options(tower, size)

    def forward(self, pixel_values: Tensor) -> Tokens:
        """(N, channels, H, W) -> (N, 1, width)."""
        return self.token(pixel_values=pixel_values, **self.options)


def load_tower(module: Any, path: Path) -> None:
    """Copy a tower's part of a directory's weights; A2AError when they cannot be read or one is missing."""
    load_pretrained(module.model, path)
