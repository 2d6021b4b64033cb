"""Whisper's encoder as a module of ours."""

from __future__ import annotations

import copy
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from a2a_audio.hf_weights import kept_layers
from a2a_core import Tokens


class WhisperEncoderModel(nn.Module):
    """The encoder of transformers' WhisperModel in float32, up to a layer; its positions (sinusoids) are frozen, as there."""

    def __init__(self, config: PretrainedConfig, layer: int | None, full: bool) -> None:
        super().__init__()
        layers = config.encoder_layers
        config = copy.deepcopy(config)
        config.encoder_layers = kept_layers(layers, layer)
        self.full, self.width = full, int(config.d_model)
        self.model = cast("Any", WhisperEncoder(cast("Any", config)))
        if config.encoder_layers < layers:  # the last hidden state of transformers is behind the norm, the others are not
            self.model.layer_norm = nn.Identity()

    def forward(self, input_features: Tensor, mask: Tensor) -> Tokens:
        """(N, mels, frames) and the sounds' tokens (N, T) -> (N, T, d_model)."""
        model, longest = self.model, mask.shape[1]
        values = F.gelu(model.conv2(F.gelu(model.conv1(input_features)))).transpose(1, 2)
        values = values + model.embed_positions.weight[: values.shape[1]]
        values = F.dropout(values if self.full else values[:, :longest], model.dropout, self.training)
        attention = None if self.full else mask[:, None, None].expand(-1, 1, longest, -1)
        for layer in model.layers:
            values = layer(values, attention)
        values = model.layer_norm(values)[:, :longest]
        return Tokens(cast("Tensor", values.masked_fill(~mask[..., None], 0)), mask)
