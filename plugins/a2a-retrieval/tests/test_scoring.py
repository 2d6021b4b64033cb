import pytest
import torch

from a2a_retrieval import scoring


def test_vectors_are_compared_by_dot_products():
    query, document, here = torch.randn(3, 4), torch.randn(5, 4), torch.ones(5).bool()
    wanted = torch.tensor([[float(sum(q * d for q, d in zip(one, other, strict=True))) for other in document] for one in query])
    torch.testing.assert_close(scoring.every(query, here[:3], document, here), wanted)
    several = document[torch.tensor([[0, 1], [2, 3], [4, 0]])]
    own = scoring.own(query, here[:3], several, torch.ones(3, 2).bool())
    torch.testing.assert_close(own, torch.stack([wanted[0, [0, 1]], wanted[1, [2, 3]], wanted[2, [4, 0]]]))


def test_tokens_are_compared_by_maxsim():
    query, document = torch.randn(3, 4, 6), torch.randn(5, 7, 6)
    asked, held = torch.rand(3, 4) > 0.4, torch.rand(5, 7) > 0.4
    asked[:, 0] = held[:, 0] = True
    wanted = torch.tensor(
        [
            [
                sum(max(float(q @ d) for d in other[there]) for q in one[here])
                for other, there in zip(document, held, strict=True)
            ]
            for one, here in zip(query, asked, strict=True)
        ]
    )
    torch.testing.assert_close(scoring.every(query, asked, document, held), wanted)
    places = torch.tensor([[0, 1], [2, 3], [4, 0]])
    torch.testing.assert_close(scoring.own(query, asked, document[places], held[places]), wanted.gather(1, places))


def test_losses_keep_their_precision_under_autocast():
    query, here = torch.randn(3, 64), torch.ones(3).bool()
    with torch.autocast("cpu", torch.bfloat16):
        assert scoring.every(query, here, query, here).dtype == torch.bfloat16
        with scoring.full_precision(query):
            low = scoring.wide(query.bfloat16())
            assert scoring.every(low, here, low, here).dtype == torch.float32
    assert scoring.wide(query.double()).dtype == torch.float64


@pytest.mark.parametrize("dims", [(), (4,)])
def test_no_negatives_are_no_scores(dims):
    documents, mask = torch.zeros(3, 0, *dims, 6), torch.zeros(3, 0, *dims).bool()
    query = torch.randn(3, *dims, 6)
    assert scoring.own(query, torch.ones(3, *dims).bool(), documents, mask).shape == (3, 0)
    flat = documents.flatten(0, 1), mask.flatten(0, 1)
    assert scoring.every(query, torch.ones(3, *dims).bool(), *flat).shape == (3, 0)
