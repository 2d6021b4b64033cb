"""Wav2Vec2 and its relatives as a module of ours, in which padding is invisible."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoModel, PretrainedConfig

from a2a_audio.hf_weights import kept_layers
from a2a_core import A2AError, Tokens


class Waveforms(NamedTuple):
    """Samples (N, S) and how many of them are real (N,)."""

    values: Tensor
    samples: Tensor


class WaveformModel(nn.Module):
    """A speech model of transformers in float32, up to a layer."""

    def __init__(self, config: PretrainedConfig, layer: int | None) -> None:
        super().__init__()
        refuse_padding_seen(config)
        config = copy.deepcopy(config)
        config.num_hidden_layers = kept_layers(config.num_hidden_layers, layer)
        auto: Any = AutoModel
        self.model: Any = auto.from_config(config, dtype=torch.float32)
        self.width = int(config.hidden_size)
        self.masked_norm = config.feat_extract_norm == "group"
        if self.masked_norm:
            self.model.feature_extractor = MaskedFeatureEncoder(self.model.feature_extractor)
        if layer is not None and config.do_stable_layer_norm:
            self.model.encoder.layer_norm = nn.Identity()
        if hasattr(self.model, "masked_spec_embed"):
            self.model.masked_spec_embed.requires_grad_(False)

    def forward(self, input_values: Tensor, samples: Tensor) -> Tokens:
        """(N, S) samples, of which `samples` (N,) are real -> (N, T, hidden_size)."""
        real = torch.arange(input_values.shape[1], device=samples.device) < samples[:, None]
        given = Waveforms(input_values, samples) if self.masked_norm else input_values
        # transformers asks whether the whole mask is true, which the meta device cannot say; shapes are the same without it
        attention_mask = None if real.is_meta else real.long()
        values = self.model(given, attention_mask=attention_mask).last_hidden_state
        lengths = self.model._get_feat_extract_output_lengths(samples)
        mask = torch.arange(values.shape[1], device=samples.device) < lengths[:, None]
        return Tokens(values.masked_fill(~mask[..., None], 0), mask)


class MaskedFeatureEncoder(nn.Module):
    """The convolutions of the base models, with the group norm behind the first taken over real frames alone.

    It stands in the place of transformers' feature encoder, its parameters have the same names, and it takes what the model
    hands through unread: samples and how many of them are real.
    """

    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        self.conv_layers: Any = stock.conv_layers

    def forward(self, waveforms: Waveforms) -> Tensor:
        """Waveforms of (N, S) -> (N, channels, T)."""
        first = self.conv_layers[0]
        values: Tensor = first.conv(waveforms.values[:, None])
        (kernel,), (stride,) = first.conv.kernel_size, first.conv.stride
        frames = (waveforms.samples - kernel) // stride + 1
        mask = torch.arange(values.shape[-1], device=values.device) < frames[:, None]
        values = first.activation(masked_norm(values, mask[:, None], first.layer_norm))
        for layer in self.conv_layers[1:]:
            values = layer(values)
        return values


def masked_norm(values: Tensor, mask: Tensor, norm: nn.GroupNorm) -> Tensor:
    """A group norm of one channel a group over the real positions of (N, C, T); mask (N, 1, T)."""
    values, count = values.float(), mask.sum(-1, keepdim=True)
    mean = values.masked_fill(~mask, 0).sum(-1, keepdim=True) / count
    centred = (values - mean).masked_fill(~mask, 0)
    variance = centred.square().sum(-1, keepdim=True) / count
    normed: Tensor = centred * (variance + norm.eps).rsqrt() * norm.weight[:, None] + norm.bias[:, None]
    return normed


def refuse_padding_seen(config: PretrainedConfig) -> None:
    """A2AError for parts that mix padding into sound whatever the attention mask says."""
    for name, what in (("add_adapter", "the convolutions of its adapter"), ("conv_pos_batch_norm", "its batch norm")):
        if getattr(config, name, False):
            raise A2AError(f"`{name}`: a sound would change with its neighbours in a batch, because {what} sees padding")
