"""Batches of ragged samples, and slow references: float64, one sample at a time, nothing padded."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from a2a_core.structures import Tokens

WIDTH = 8
WIDTHS = {"sound": 6, "image": WIDTH, "text": 5}


def items(*lengths, seed=0, width=WIDTH):
    generator = torch.Generator().manual_seed(seed + sum(lengths) * 100 + len(lengths))
    return [torch.randn(length, width, generator=generator, dtype=torch.float64) for length in lengths]


def samples():
    """All modalities; several items; one missing; two missing; nothing at all."""
    return [
        {"image": items(3, seed=1), "sound": items(5, seed=2), "text": items(2, seed=3)},
        {"image": items(2, 4, seed=4), "sound": items(1, seed=5), "text": items(2, 1, 1, seed=6)},
        {"image": [], "sound": items(4, seed=7), "text": items(3, seed=8)},
        {"image": items(1, seed=9), "sound": [], "text": []},
        {"image": [], "sound": [], "text": []},
    ]


def pack(rows, names=("sound", "image", "text"), extra=0, left=False, junk=7.0, dtype=torch.float64, backwards=False):
    """Tokens of each modality's items as the core hands them over; `junk` fills padding."""
    encoded = {}
    for name in names:
        found = [(row, slot, item) for row, sample in enumerate(rows) for slot, item in enumerate(sample.get(name, []))]
        found = found[::-1] if backwards else found
        length = max((len(item) for _, _, item in found), default=1) + extra
        values = torch.full((len(found), length, WIDTH), junk, dtype=dtype)
        mask = torch.zeros(len(found), length, dtype=torch.bool)
        for index, (_, _, item) in enumerate(found):
            start = length - len(item) if left else 0
            values[index, start : start + len(item)] = item.to(dtype)
            mask[index, start : start + len(item)] = True
        row = torch.tensor([entry[0] for entry in found], dtype=torch.long)
        slot = torch.tensor([entry[1] for entry in found], dtype=torch.long)
        slots = max((len(sample.get(name, [])) for sample in rows), default=1)
        encoded[name] = Tokens(values.requires_grad_(), mask, row, slot, slots)
    return encoded


def ragged(sample, name):
    """All real tokens of a modality, (T, C)."""
    found = sample.get(name, [])
    return torch.cat(found) if found else torch.zeros(0, WIDTH, dtype=torch.float64)


def turned(x, positions):
    """RoPE as multiplication by complex numbers; x (H, T, D)."""
    half = x.shape[-1] // 2
    frequencies = 10_000.0 ** (-np.arange(half) / half)
    phases = np.exp(1j * np.asarray(positions)[:, None] * frequencies)
    product = (x[..., :half] + 1j * x[..., half:]) * phases
    return np.concatenate([product.real, product.imag], -1)


def split(x, heads):
    return x.reshape(len(x), heads, -1).transpose(1, 0, 2)


def attention(module, x, keys, at, keys_at):
    """Gated attention of (T, C) over (S, C), head by head; S = 0 gives zeros."""
    weights = {name: value.detach().double().numpy() for name, value in module.state_dict().items()}
    if len(keys) == 0:
        return np.zeros_like(x)
    heads = module.num_heads
    query = turned(split(x @ weights["query.weight"].T, heads), at)
    key, value = np.split(keys @ weights["key_value.weight"].T, 2, -1)
    key, value = turned(split(key, heads), keys_at), split(value, heads)
    scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    gathered = scores / scores.sum(-1, keepdims=True) @ value
    if "gate.weight" in weights:
        gate = 1 / (1 + np.exp(-(x @ weights["gate.weight"].T + weights["gate.bias"])))
        gathered = gathered * split(gate, heads)
    return gathered.transpose(1, 0, 2).reshape(x.shape) @ weights["out.weight"].T + weights["out.bias"]


def apply(module, x):
    with torch.no_grad():
        return module(torch.as_tensor(x)).numpy()


def block(module, x, at, keys=None, keys_at=None):
    """A pre-norm block on one sample's (T, C) without padding; `keys` for cross-attention."""
    x = np.asarray(x)
    normed = apply(module.norm, x)
    keys = normed if keys is None else apply(module.context_norm, np.asarray(keys))
    x = x + attention(module.attention, normed, keys, at, at if keys_at is None else keys_at)
    return x + apply(module.mlp, apply(module.mlp_norm, x))


def shaken(module, scale=0.3):
    """The module in float64 and evaluation mode, its parameters (zero gates, equal norms) moved to somewhere general."""
    generator = torch.Generator().manual_seed(11)
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module


@pytest.fixture
def kit():
    return SimpleNamespace(
        widths=WIDTHS, width=WIDTH, items=items, samples=samples, pack=pack, ragged=ragged, turned=turned,
        attention=attention, block=block, shaken=shaken, apply=apply,
    )  # fmt: skip
