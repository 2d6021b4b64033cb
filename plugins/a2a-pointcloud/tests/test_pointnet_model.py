import pytest
import torch
from torch import nn

from a2a_pointcloud.pointnet import PointNetEncoder
from a2a_pointcloud.pointnet_model import Layer


def batch(groups=3, size=5, channels=3):
    torch.manual_seed(0)
    counts = torch.tensor([[size] * groups, [2] * (groups - 1) + [0], [1] + [0] * (groups - 1)])
    return torch.randn(3, groups, size, channels), torch.randn(3, groups, 3), counts


def test_one_group_is_pointnet_in_float64():
    model = PointNetEncoder(hidden_sizes=(7, 9), width=11).build()
    points, centers, counts = batch(groups=1)
    counts = torch.tensor([[5], [2], [1]])
    found = model(points, centers, counts).values[:, 0]
    for index, count in enumerate(counts.flatten().tolist()):
        values = points[index, 0, :count].double()
        for step in model.points:
            if isinstance(step, nn.Linear):
                values = values @ step.weight.double().T + step.bias.double()
                continue
            linear, norm, _ = step
            values = values @ linear.weight.double().T + linear.bias.double()
            values = (values - values.mean(-1, keepdim=True)) / (values.var(-1, correction=0, keepdim=True) + norm.eps).sqrt()
            values = values * 0.5 * (1 + torch.erf(values / 2**0.5))
        pooled = values.amax(0)
        wanted = (pooled - pooled.mean()) / (pooled.var(correction=0) + 1e-5).sqrt()
        torch.testing.assert_close(found[index].double(), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [{}, {"tokens": 3, "layers": 2, "num_heads": 2}], ids=["one", "groups"])
def test_the_order_of_points_in_a_group_changes_nothing(options):
    model = PointNetEncoder(hidden_sizes=(8,), width=12, **options).build().eval()
    points, centers, counts = batch()
    order = torch.stack([torch.cat([torch.randperm(n), torch.arange(n, 5)]) for n in counts.flatten().tolist()]).view(3, 3, 5)
    moved = points.gather(2, order[..., None].expand_as(points))
    assert not torch.equal(moved, points)
    torch.testing.assert_close(model(moved, centers, counts).values, model(points, centers, counts).values, atol=1e-6, rtol=0)


def test_the_order_of_groups_only_moves_the_tokens():
    model = PointNetEncoder(hidden_sizes=(8,), width=12, tokens=3, layers=2, num_heads=2).build().eval()
    points, centers, counts = batch()
    order = torch.tensor([2, 0, 1])
    one, other = model(points, centers, counts), model(points[:, order], centers[:, order], counts[:, order])
    torch.testing.assert_close(other.values, one.values[:, order], atol=1e-5, rtol=0)
    assert torch.equal(other.mask, one.mask[:, order])


def test_what_pads_a_group_is_not_looked_at():
    model = PointNetEncoder(hidden_sizes=(8,), width=12, tokens=3, layers=1, num_heads=2).build().eval()
    points, centers, counts = batch()
    real = torch.arange(5) < counts[..., None]
    filled = points.masked_fill(~real[..., None], 1e4)
    one, other = model(points, centers, counts), model(filled, centers, counts)
    torch.testing.assert_close(one.values, other.values, atol=0, rtol=0)
    assert torch.equal(one.mask, counts > 0)
    assert not one.values[~one.mask].any()


def test_where_a_group_lies_matters():
    model = PointNetEncoder(hidden_sizes=(8,), width=12, tokens=3).build().eval()
    points, centers, counts = batch()
    assert not torch.allclose(model(points, centers, counts).values, model(points, centers + 1, counts).values, atol=1e-3)


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
    torch.testing.assert_close(
        layer(values, mask)[mask], wanted(values, src_key_padding_mask=~mask)[mask], atol=1e-4, rtol=1e-5
    )
