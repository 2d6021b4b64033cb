import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_retrieval import maxsim


def naive(query, query_mask, document, document_mask):
    """All similarities of tokens at once."""
    similar = torch.einsum("qtd,msd->qmts", query, document).masked_fill(~document_mask[:, None], -1e9)
    best = similar.max(-1).values.masked_fill(~document_mask.any(-1)[:, None], 0)
    return (best * query_mask[:, None]).sum(-1)


def drawn(queries=5, length=4, documents=7, tokens=6, dtype=torch.float64):
    query = torch.randn(queries, length, 3, dtype=dtype, requires_grad=True)
    document = torch.randn(documents, tokens, 3, dtype=dtype, requires_grad=True)
    query_mask = torch.arange(length) < torch.randint(1, length + 1, (queries, 1))
    document_mask = torch.arange(tokens) < torch.randint(0, tokens + 1, (documents, 1))
    return query, query_mask, document, document_mask


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 7), st.integers(1, 6), st.integers(1, 200), st.integers(0, 99))
def test_blocks_give_scores_and_gradients_of_all_at_once(queries, length, documents, tokens, block, seed):
    torch.manual_seed(seed)
    one = drawn(queries, length, documents, tokens)
    weights = torch.randn(queries, documents, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maxsim, "BLOCK", block)
        found = maxsim.every(*one)
        got = torch.autograd.grad((found * weights).sum(), (one[0], one[2]))
    wanted = naive(*one)
    torch.testing.assert_close(found, wanted)
    expected = torch.autograd.grad((wanted * weights).sum(), (one[0], one[2]))
    torch.testing.assert_close(got, expected)


def test_gradients_are_those_of_finite_differences():
    query, query_mask, document, document_mask = drawn(2, 3, 3, 4)
    assert torch.autograd.gradcheck(lambda a, b: maxsim.every(a, query_mask, b, document_mask), (query, document))


def test_documents_of_ones_own():
    query, query_mask, _, _ = drawn(3)
    documents = torch.randn(3, 2, 6, 3, dtype=torch.float64)
    mask = torch.rand(3, 2, 6) < 0.5
    mask[0, 1] = False
    found = maxsim.own(query, query_mask, documents, mask)
    wanted = torch.stack(
        [naive(*(each[i : i + 1] for each in (query, query_mask)), documents[i], mask[i])[0] for i in range(3)]
    )
    torch.testing.assert_close(found, wanted)
    assert found[0, 1] == 0
    assert maxsim.own(query, query_mask, documents[:, :0], mask[:, :0]).shape == (3, 0)
    assert not maxsim.own(query, query_mask, documents[:, :, :0], mask[:, :, :0]).any()


def test_all_similarities_never_exist_at_once(monkeypatch):
    """What is allocated at any time stays far below (Q, M, T, T')."""
    monkeypatch.setattr(maxsim, "BLOCK", 1 << 12)
    largest, spied = 0, maxsim.best_of

    def spy(similar, mask):
        nonlocal largest
        largest = max(largest, similar.numel())
        return spied(similar, mask)

    monkeypatch.setattr(maxsim, "best_of", spy)
    query, query_mask, document, document_mask = drawn(8, 8, 64, 32, torch.float32)
    maxsim.every(query, query_mask, document, document_mask).sum().backward()
    assert 0 < largest <= 1 << 12 < 8 * 8 * 64 * 32
