import pytest
import torch

from a2a_core.errors import A2AError
from a2a_core.structures import Fused, Tokens, Widths
from a2a_retrieval.multi_vector import MultiVectorHead

HEAD = MultiVectorHead(negatives="negatives", dimension=5, weights={"query": "query", "positive": "query"})
SPEC = Widths(None, {"query": 6, "positive": 6, "negatives": 6})


def items(length, row, slot=None, slots=1):
    mask = torch.arange(length) < torch.randint(1, length + 1, (len(row), 1))
    return Tokens(torch.randn(len(row), length, 6), mask, torch.tensor(row), torch.tensor(slot or [0] * len(row)), slots)


@pytest.fixture
def fused():
    """Sample 0 has everything, 1 a query and a positive, 2 a positive alone."""
    encoded = {"query": items(3, [0, 1]), "positive": items(5, [2, 0, 1]), "negatives": items(4, [0, 0], [0, 1], 2)}
    return Fused(3, encoded=encoded)


def test_each_real_token_has_a_vector_of_length_one(fused):
    module = HEAD.build(SPEC)
    found = module(fused, {})
    assert [tuple(found[side].shape) for side in ("query", "positive", "negative")] == [(3, 3, 5), (3, 5, 5), (3, 2, 4, 5)]
    assert found["query_mask"].any(1).tolist() == [True, True, False]
    assert found["negative_mask"].any(2).tolist() == [[True, True], [False, False], [False, False]]
    for side, key in (("query", "query"), ("positive", "positive"), ("negative", "negatives")):
        tokens = fused.encoded[key]
        values = tokens.values[tokens.mask] @ module.projections["query"].weight.T
        wanted = values / values.norm(dim=-1, keepdim=True)
        vectors, mask = module.vectors(side, tokens)
        torch.testing.assert_close(vectors[mask], wanted)
        assert not found[side][~found[f"{side}_mask"]].any()
        assert int(found[f"{side}_mask"].sum()) == len(wanted)


def test_it_predicts_maxsim(fused):
    module = HEAD.build(SPEC)
    outputs = module(fused, {})
    found = module.predict(outputs)
    assert found[2] is None
    for sample, score in enumerate(found[:2]):
        query = outputs["query"][sample][outputs["query_mask"][sample]]
        positive = outputs["positive"][sample][outputs["positive_mask"][sample]]
        assert score == pytest.approx((query @ positive.T).max(1).values.sum().item())


def test_without_an_encoder_there_are_no_negatives(fused):
    found = MultiVectorHead(dimension=5).build(SPEC)(fused, {})
    assert found["negative"].shape[:2] == found["negative_mask"].shape[:2] == (3, 0)


def test_encoders_of_different_widths_meet_in_one_space():
    module = MultiVectorHead(positive="image").build(Widths(None, {"query": 6, "image": 9}))
    assert {key: tuple(layer.weight.shape) for key, layer in module.projections.items()} == {
        "query": (128, 6),
        "image": (128, 9),
    }
    with pytest.raises(A2AError, match="embeds what `image` gives, and no encoder has that name"):
        MultiVectorHead(positive="image").build(SPEC)
