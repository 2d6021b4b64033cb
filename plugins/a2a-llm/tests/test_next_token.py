from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from a2a_core import A2AError
from a2a_llm import chunks
from a2a_llm.metrics import Perplexity, SequenceAccuracy, TokenAccuracy
from a2a_llm.next_token import NextToken, stated
from a2a_llm.next_token_model import NextTokens


class Capped:
    """An output layer with something behind it."""

    def __init__(self, layer):
        self.layer = layer

    def __call__(self, hidden):
        return 3 * torch.tanh(self.layer(hidden) / 3)

    def parameters(self):
        return self.layer.parameters()


@pytest.fixture(params=["linear", "bias", "capped"])
def unembed(request):
    layer = nn.Linear(6, 13, bias=request.param == "bias", dtype=torch.float64)
    return Capped(layer) if request.param == "capped" else layer


@pytest.fixture(params=[(0.0, 0.0), (0.1, 0.0), (0.0, 1e-2), (0.2, 1e-2)], ids=str)
def options(request):
    return request.param


def plain(hidden, unembed, labels, weights, smoothing, z_loss):
    """The formula by torch's own functions."""
    logits = unembed(hidden)
    each = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    return ((each + z_loss * logits.logsumexp(1).square()) * weights).sum()


@pytest.mark.parametrize("rows", [3, 4, 50])
def test_the_loss_and_every_gradient_are_those_of_the_formula(monkeypatch, unembed, options, rows):
    monkeypatch.setattr(chunks, "FEWEST", rows)
    monkeypatch.setattr(chunks, "LOGITS", 0)
    hidden = torch.randn(10, 6, dtype=torch.float64, requires_grad=True)
    labels, weights = torch.randint(13, (10,)), torch.rand(10, dtype=torch.float64)
    weights[4] = 0
    leaves = [hidden, *unembed.parameters()]
    wanted = plain(hidden, unembed, labels, weights, *options)
    wanted_gradients = torch.autograd.grad(2.5 * wanted, leaves)
    total = NextTokens(*options)({"hidden": hidden, "unembed": unembed}, {"labels": labels, "weights": weights})["next_token"]
    torch.testing.assert_close(total.double(), wanted, rtol=1e-6, atol=1e-6)
    for got, reference in zip(torch.autograd.grad(2.5 * total, leaves), wanted_gradients, strict=True):
        torch.testing.assert_close(got, reference, rtol=1e-5, atol=1e-6)


def test_a_frozen_layer_and_frozen_states(unembed):
    labels, weights = torch.randint(13, (5,)), torch.ones(5, dtype=torch.float64)
    targets = {"labels": labels, "weights": weights}
    hidden = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    for each in unembed.parameters():
        each.requires_grad_(False)
    NextTokens(0, 0)({"hidden": hidden, "unembed": unembed}, targets)["next_token"].backward()
    wanted = torch.autograd.grad(plain(hidden, unembed, labels, weights, 0, 0), hidden)[0]
    torch.testing.assert_close(hidden.grad, wanted, rtol=1e-5, atol=1e-6)
    for each in unembed.parameters():
        each.requires_grad_(True)
    NextTokens(0, 0)({"hidden": hidden.detach(), "unembed": unembed}, targets)["next_token"].backward()
    layer = list(unembed.parameters())
    wanted = torch.autograd.grad(plain(hidden, unembed, labels, weights, 0, 0), layer)
    for got, reference in zip(layer, wanted, strict=True):
        torch.testing.assert_close(got.grad, reference, rtol=1e-5, atol=1e-6)


def test_under_autocast_the_softmax_is_float32():
    layer, hidden = nn.Linear(32, 300, bias=False), torch.randn(40, 32, requires_grad=True)
    labels, weights = torch.randint(300, (40,)), torch.ones(40)
    with torch.autocast("cpu", torch.bfloat16):
        total = NextTokens(0, 0)({"hidden": hidden, "unembed": layer}, {"labels": labels, "weights": weights})["next_token"]
    total.backward()
    assert total.dtype == torch.float32
    assert layer.weight.grad.dtype == torch.float32
    wanted = torch.autograd.grad(plain(hidden, layer, labels, weights, 0, 0), [hidden, layer.weight])
    for got, reference in zip((hidden.grad, layer.weight.grad), wanted, strict=True):
        assert functional.cosine_similarity(got.flatten(), reference.flatten(), dim=0) > 0.999


def test_nothing_supervised_is_zero_and_connected():
    layer, hidden = nn.Linear(6, 13, bias=False), torch.randn(0, 6, requires_grad=True)
    module = NextTokens(0, 0)
    targets = {"labels": torch.zeros(0, dtype=torch.long), "weights": torch.zeros(0)}
    total = module({"hidden": hidden, "unembed": layer}, targets)["next_token"]
    total.backward()
    assert total == 0
    assert not layer.weight.grad.any()
    assert module.count({}, targets) == {"next_token": 0.0}


def test_metrics_are_those_of_plain_logits():
    from a2a_llm.lm_model import judged

    head, outputs, targets = stated(9)
    targets["row"] = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3, 4])
    logits = outputs["unembed"](outputs["hidden"])
    targets["labels"][:4] = logits.argmax(1)[:4]
    targets["labels"][4:] = logits.argmin(1)[4:]
    outputs |= judged(outputs["hidden"], outputs["unembed"], targets["labels"])
    found = {}
    for kind in (Perplexity, TokenAccuracy, SequenceAccuracy):
        metric = kind(head="lm").build(head)
        metric.update(outputs, targets)
        found |= metric.compute()
    wanted = functional.cross_entropy(logits[:8], targets["labels"][:8]).exp()
    assert found["perplexity"] == pytest.approx(float(wanted), rel=1e-5)
    assert found["token-accuracy"] == 4 / 8
    assert found["sequence-accuracy"] == 2 / 4  # the last place counts nothing


def test_another_head_is_refused():
    from a2a_core import HeadConfig

    class Other(HeadConfig):
        name = "other"

        def build(self, spec):
            raise NotImplementedError

    with pytest.raises(A2AError, match="judges a head that predicts text"):
        NextToken(head="x").build(Other())


def test_a_trace_shows_the_arithmetic_of_all_chunks_and_the_memory_of_one():
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    def flops(rows, fake):
        with FakeTensorMode() if fake else torch.device("cpu"):
            layer, hidden = nn.Linear(8, 1 << 16, bias=False), torch.zeros(rows, 8, requires_grad=True)
            targets = {"labels": torch.zeros(rows, dtype=torch.long), "weights": torch.ones(rows)}
            with FlopCounterMode(display=False) as counter:
                NextTokens(0, 0)({"hidden": hidden, "unembed": layer}, targets)["next_token"].backward()
        return counter.get_total_flops()

    assert flops(100, True) == flops(100, False) == 3 * 2 * 100 * 8 * (1 << 16)
    assert flops(1300, True) == flops(1300, False) == 3 * 2 * 1300 * 8 * (1 << 16)


def test_in_float16_small_and_large_gradients_are_kept():
    layer, hidden = nn.Linear(32, 300, bias=False), (3 * torch.randn(40, 32)).requires_grad_()
    labels, weights = torch.zeros(40, dtype=torch.long), torch.full((40,), 1e-4)
    with torch.autocast("cpu", torch.float16):
        total = NextTokens(0, 0)({"hidden": hidden, "unembed": layer}, {"labels": labels, "weights": weights})["next_token"]
    got = torch.autograd.grad(total, [hidden, layer.weight])
    wanted = torch.autograd.grad(plain(hidden, layer, labels, weights, 0, 0), [hidden, layer.weight])
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-9)


def test_states_of_another_class_are_all_judged():
    layer, hidden = nn.Linear(6, 1 << 18, bias=False), nn.Parameter(torch.randn(300, 6))
    labels, weights = torch.zeros(300, dtype=torch.long), torch.ones(300)
    total = NextTokens(0, 0)({"hidden": hidden, "unembed": layer}, {"labels": labels, "weights": weights})["next_token"]
    torch.testing.assert_close(total, plain(hidden, layer, labels, weights, 0, 0), rtol=1e-4, atol=1e-3)


def test_in_evaluation_nothing_is_made_but_the_loss():
    from a2a_llm.lm_model import judged

    layer, hidden = nn.Linear(6, 13, bias=False), torch.randn(9, 6, requires_grad=True)
    targets = {"labels": torch.randint(13, (9,)), "weights": torch.rand(9)}
    outputs = {"hidden": hidden, "unembed": layer}
    with torch.no_grad():
        wanted = plain(hidden, layer, targets["labels"], targets["weights"], 0, 0)
        alone = NextTokens(0, 0)(outputs, targets)["next_token"]
        known = NextTokens(0, 0)(outputs | judged(hidden, layer, targets["labels"]), targets)["next_token"]
    torch.testing.assert_close(alone, wanted)
    torch.testing.assert_close(known, wanted)
    assert not alone.requires_grad


def test_a_second_way_back_says_why_it_cannot():
    layer, hidden = nn.Linear(6, 13, bias=False), torch.randn(3, 6, requires_grad=True)
    targets = {"labels": torch.zeros(3, dtype=torch.long), "weights": torch.ones(3)}
    total = NextTokens(0, 0)({"hidden": hidden, "unembed": layer}, targets)["next_token"]
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="made once"):
        total.backward()


def test_what_a_trace_reckons_takes_no_memory_under_autocast_either():
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, given=(), options=None):
            nonlocal largest
            made = operation(*given, **(options or {}))
            if isinstance(made, torch.Tensor):
                largest = max(largest, made.untyped_storage().nbytes())
            return made

    with FakeTensorMode():
        layer, hidden = nn.Linear(8, 1 << 16, bias=False), torch.zeros(4096, 8, requires_grad=True)
        targets = {"labels": torch.zeros(4096, dtype=torch.long), "weights": torch.ones(4096)}
        with Watch(), torch.autocast("cpu", torch.bfloat16):
            NextTokens(0, 0)({"hidden": hidden, "unembed": layer}, targets)["next_token"].backward()
    assert largest == 4 * chunks.LOGITS  # one chunk's, in float32
