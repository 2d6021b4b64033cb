import pytest
import torch
from torch import nn
from torch.nn import functional as F

from a2a_core.deep.ledger import Ledger

KIB = 1024


def test_what_lives_at_once_is_what_counts() -> None:
    with Ledger([]) as ledger:
        first = torch.zeros(KIB)  # 4 KiB
        second = first + 1
        del first
        third = second * 2
        assert ledger.live == 8 * KIB
        del second, third
    assert ledger.live == 0
    assert ledger.peaks.first == 8 * KIB


def test_views_and_what_was_there_before_cost_nothing() -> None:
    weight = torch.zeros(KIB)
    with Ledger([weight]) as ledger:
        views = [weight[:10], weight.view(2, -1).t(), weight.add_(1)]
    assert ledger.peaks.first == 0
    assert len(views) == 3


def test_gradients_are_told_from_activations() -> None:
    layer = nn.Linear(256, 256, bias=False)
    given = torch.zeros(1, 256)
    with Ledger(layer.parameters(), [given]) as ledger:
        layer.weight.register_post_accumulate_grad_hook(ledger.accumulated)
        layer(given).sum().backward()
    assert ledger.gradients == 256 * 256 * 4
    assert ledger.live == ledger.gradients, "all else is gone"
    layer.weight.grad = None
    assert (ledger.live, ledger.gradients) == (0, 0)


def test_copies_that_autocast_makes_of_weights_are_known() -> None:
    layer = nn.Linear(256, 256, bias=False)
    with Ledger(layer.parameters()) as ledger, torch.autocast("cpu", torch.bfloat16):
        out = layer(torch.zeros(1, 256))
    copy = 256 * 256 * 2
    assert ledger.peaks.first >= copy
    assert ledger.peaks.activations == ledger.peaks.first
    assert out.dtype == torch.bfloat16


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_products_are_counted(dropout: float) -> None:
    """A linear layer: 2 n in out, twice that in backward. Attention: two products forward, and four (five where it is fused) backward."""
    layer, given = nn.Linear(16, 32), torch.zeros(8, 16, requires_grad=True)
    with Ledger([]) as ledger:
        layer(given).sum().backward()
    assert sum(ledger.flops.values()) == 3 * 2 * 8 * 16 * 32
    query = torch.zeros(2, 4, 8, 16, requires_grad=True)
    product = 2 * 2 * 4 * 8 * 8 * 16
    with Ledger([]) as ledger:
        out = F.scaled_dot_product_attention(query, query, query, dropout_p=dropout)
        assert sum(ledger.flops.values()) == 2 * product
        out.sum().backward()
    assert sum(ledger.flops.values()) == (6 if dropout else 7) * product
