import math

import pytest
import torch
from torch import nn

from a2a_timeseries.series_model import LONGEST, SHORTEST, Layer, SeriesModel


def test_a_layer_is_the_pre_norm_layer_of_torch():
    torch.manual_seed(0)
    layer = Layer(16, 2, 0.0)
    wanted = nn.TransformerEncoderLayer(16, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True)
    norm, up, _, _, down, _ = layer.mlp
    pairs = ((wanted.norm1, layer.attention_norm), (wanted.self_attn.out_proj, layer.out), (wanted.norm2, norm))
    for theirs, ours in (*pairs, (wanted.linear1, up), (wanted.linear2, down)):
        nn.init.normal_(ours.weight)
        theirs.load_state_dict(ours.state_dict())
    wanted.self_attn.in_proj_weight.data.copy_(layer.qkv.weight)
    wanted.self_attn.in_proj_bias.data.copy_(layer.qkv.bias)
    values, mask = torch.randn(3, 5, 16), torch.arange(5) < torch.tensor([5, 2, 4])[:, None]
    found, theirs = layer(values, mask), wanted(values, src_key_padding_mask=~mask)
    torch.testing.assert_close(found[mask], theirs[mask], atol=1e-4, rtol=1e-5)


def test_periods_are_whole_and_geometric():
    periods = SeriesModel(3, 8, 0, 1, 0.0).periods.tolist()
    assert periods == [round(SHORTEST * (LONGEST / SHORTEST) ** (index / 3)) for index in range(4)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_positions_are_exact_years_from_the_start(dtype):
    model = SeriesModel(3, 10, 0, 1, 0.0).to(dtype)
    places = [0, 1, 2**24 + 1, 10**12 + 7]
    with torch.autocast("cpu", torch.bfloat16):
        found = model.waves(torch.tensor([places]))[0]
    assert found.dtype == torch.float32
    periods = model.periods.tolist()
    for place, row in zip(places, found.tolist(), strict=True):
        angles = [2 * math.pi * (place % period) / period for period in periods]
        assert row == pytest.approx([*map(math.sin, angles), *map(math.cos, angles)], abs=2e-6)


def test_forward_without_layers_is_a_normed_embedding():
    torch.manual_seed(0)
    model = SeriesModel(3, 7, 0, 1, 0.1).eval()
    features, positions, mask = (
        torch.randn(2, 4, 3),
        torch.arange(4).expand(2, 4),
        torch.tensor([[True] * 4, [True] + [False] * 3]),
    )
    found = model(features, positions, mask)
    inner = features.double() @ model.embed.weight.double().T + model.embed.bias.double() + model.waves(positions).double()
    wanted = (inner - inner.mean(-1, keepdim=True)) / (inner.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(found.values.double()[mask], wanted[mask], atol=1e-5, rtol=0)
    assert not found.values[~mask].any()
    assert torch.equal(found.mask, mask)
