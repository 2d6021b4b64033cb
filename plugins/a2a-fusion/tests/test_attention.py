import numpy as np
import pytest
import torch

from a2a_core.structures import Tokens
from a2a_fusion import attention
from a2a_fusion.attention import Attention, Block, Shape
from a2a_fusion.streams import place

GATES = ("none", "head", "channel")


def shape(gate="head", dropout=0.0):
    return Shape(width=8, num_heads=2, hidden=12, dropout=dropout, gate=gate)


def stream(mask, seed=0, dtype=torch.float64):
    mask = torch.tensor(mask, dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(*mask.shape, 8, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    return place(Tokens(values, mask), 4)


QUERIES = [[1, 1, 1, 0], [0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]]
KEYS = [[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]


@pytest.mark.parametrize("gate", GATES)
def test_attention_is_naive_softmax_attention_without_the_padding(kit, gate):
    module = kit.shaken(Attention(shape(gate)))
    queries, keys = stream(QUERIES, 1), stream(KEYS, 2)
    ours = module(queries, keys).detach().numpy()
    for sample in range(4):
        x, context = (s.values[sample][s.mask[sample]].detach().numpy() for s in (queries, keys))
        expected = kit.attention(module, x, context, range(len(x)), range(len(context)))
        np.testing.assert_allclose(ours[sample][queries.mask[sample].numpy()], expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [False, True])
def test_a_sample_without_keys_gets_zero_and_finite_gradients(dtype, training):
    module = Attention(shape(dropout=0.5)).to(dtype).train(training)
    queries, keys = stream(QUERIES, 1, dtype), stream(KEYS, 2, dtype)
    out = module(queries, keys)
    assert torch.equal(out[3], torch.zeros_like(out[3]))
    out[3].sum().backward(retain_graph=True)
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in module.parameters())
    out.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())
    assert torch.isfinite(queries.values.grad).all()
    assert torch.isfinite(keys.values.grad).all()


def test_float32_agrees_with_float64(kit):
    module = kit.shaken(Block(shape()))
    single = Block(shape()).eval()
    single.load_state_dict(module.state_dict())
    double = module(stream(QUERIES, 1)).values
    torch.testing.assert_close(single(stream(QUERIES, 1, torch.float32)).values.double(), double, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("gate", ["head", "channel"])
def test_the_gate_starts_half_open_and_can_close(gate):
    gated, plain = Attention(shape(gate)), Attention(shape("none"))
    plain.load_state_dict({name: value for name, value in gated.state_dict().items() if "gate" not in name})
    queries, keys = stream(QUERIES, 1, torch.float32), stream(KEYS, 2, torch.float32)
    torch.testing.assert_close(gated(queries, keys), plain(queries, keys) / 2)
    torch.nn.init.constant_(gated.gate.bias, -50.0)
    torch.testing.assert_close(gated(queries, keys), torch.zeros(4, 4, 8), atol=1e-6, rtol=0)
    torch.nn.init.constant_(gated.gate.bias, 50.0)
    torch.testing.assert_close(gated(queries, keys), plain(queries, keys))


def test_a_head_gate_closes_one_head_for_one_query():
    module = Attention(shape("head"))
    queries, keys = stream([[1, 1]], 1, torch.float32), stream([[1, 1, 1]], 2, torch.float32)
    with torch.no_grad():
        module.out.weight.copy_(torch.eye(8))
        # a gate that the query's own input opens: 50 times its distance from the middle of the two queries
        difference = queries.values[0, 0] - queries.values[0, 1]
        module.gate.weight[0] = 50 * difference
        module.gate.bias[0] = -50 * difference @ queries.values[0].mean(0)
    out = module(queries, keys)[0]
    assert out[0, :4].abs().min() > 1e-4
    torch.testing.assert_close(out[1, :4], torch.zeros(4), atol=1e-6, rtol=0)
    assert out[1, 4:].abs().min() > 1e-4


@pytest.mark.parametrize("cross", [False, True])
def test_block_is_the_naive_block(kit, cross):
    module = kit.shaken(Block(shape("channel"), cross=cross))
    queries, keys = stream(QUERIES, 1), stream(KEYS, 2)
    ours = module(queries, keys if cross else None).values.detach().numpy()
    for sample in range(4):
        x, context = (s.values[sample][s.mask[sample]].detach().numpy() for s in (queries, keys))
        more = (context, range(len(context))) if cross else ()
        expected = kit.block(module, x, range(len(x)), *more)
        np.testing.assert_allclose(ours[sample][queries.mask[sample].numpy()], expected, atol=1e-12)


def test_a_block_keeps_no_tensor_from_call_to_call(kit):
    module = kit.shaken(Block(shape()))
    before = set(vars(module.attention))
    first = module(stream([[1, 1, 1, 1]], 3)).values
    module(stream([[0, 1, 0, 1]], 4))
    assert torch.equal(module(stream([[1, 1, 1, 1]], 3)).values, first)
    assert set(vars(module.attention)) == before
    assert not list(module.buffers())


def test_no_kernel_is_asked_for_a_softmax_over_nothing(monkeypatch):
    """Some kernels answer NaN there; the CPU's does not, so what is asked has to be looked at."""
    asked = []
    original = attention.F.scaled_dot_product_attention
    monkeypatch.setattr(
        attention.F,
        "scaled_dot_product_attention",
        lambda *given, **more: asked.append(more["attn_mask"]) or original(*given, **more),
    )
    Attention(shape())(stream(QUERIES, 1, torch.float32), stream(KEYS, 2, torch.float32))
    assert asked[0].any(-1).all()
