import pytest
import torch
from sentence_transformers.sentence_transformer.losses import CoSENTLoss
from torch.nn import functional as F

from a2a_core.errors import A2AError
from a2a_core.testing.reference import ReferenceHead
from a2a_retrieval.cosent import CoSent
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.examples import example_inputs, examples, many_vectors

HEAD = EmbeddingHead()


def drawn(size, scores=None):
    query, positive = (torch.randn(size, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    here = torch.ones(size, dtype=torch.bool)
    outputs = {"query": query, "query_mask": here, "positive": positive, "positive_mask": here}
    return outputs, {"score": torch.rand(size) if scores is None else torch.tensor(scores)}


@pytest.mark.parametrize("scores", [None, [0.0, 1.0, 1.0, 0.5, 0.0], [3.0] * 5])
def test_all_rows_are_judged_as_by_sentence_transformers(scores):
    outputs, targets = drawn(5, scores)
    total = CoSent(head="it", scale=15.0).build(HEAD)(outputs, targets)["cosent"]
    vectors = outputs["query"], outputs["positive"]
    reference = CoSENTLoss(None, scale=15.0).compute_loss_from_embeddings(list(vectors), targets["score"])
    torch.testing.assert_close(total / 5, reference)
    torch.testing.assert_close(torch.autograd.grad(total / 5, vectors), torch.autograd.grad(reference, vectors))


def test_rows_without_a_score_do_not_count():
    outputs, targets = drawn(6, [0.1, float("nan"), 0.9, 0.4, float("nan"), 0.2])
    kept = [0, 2, 3, 5]
    module = CoSent(head="it").build(HEAD)
    total = module(outputs, targets)["cosent"]
    alone = {name: value[kept] for name, value in outputs.items()}
    torch.testing.assert_close(total, module(alone, {"score": targets["score"][kept]})["cosent"])
    total.backward()
    assert not outputs["query"].grad[[1, 4]].any()
    rows = torch.arange(6)
    media = {"row": rows, "slot": rows * 0, "slots": 1}
    assert module.count({"size": 6, "query": media, "positive": media}, targets)["cosent"] == 4
    missing = media | {"row": rows[1:], "slot": rows[1:] * 0}
    assert module.count({"size": 6, "query": media, "positive": missing}, targets)["cosent"] == 3


def test_without_any_score_nothing_counts_and_nothing_moves():
    outputs, targets = drawn(3, [float("nan")] * 3)
    total = CoSent(head="it").build(HEAD)(outputs, targets)["cosent"]
    total.backward()
    assert total == 0
    assert not outputs["query"].grad.any()


def test_many_vectors_are_compared_by_max_sim():
    head, outputs, targets = many_vectors(7)
    found = CoSent(head="it", scale=2.0).build(head)(outputs, targets)["cosent"]
    query, positive = outputs["query"], outputs["positive"]
    similar = torch.einsum("btd,bsd->bts", query, positive).masked_fill(~outputs["positive_mask"][:, None], -9)
    scores = (similar.amax(-1) * outputs["query_mask"]).sum(1)[:6]
    gaps = [scores[j] - scores[i] for i in range(6) for j in range(6) if targets["score"][i] > targets["score"][j]]
    torch.testing.assert_close(found, 6 * (1 + (2.0 * torch.stack(gaps)).exp().sum()).log())


def test_it_is_computed_in_float32_under_autocast():
    head, outputs, targets = examples(7)
    module = CoSent(head="it").build(head)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(outputs, targets)["cosent"]
    torch.testing.assert_close(found, module(outputs, targets)["cosent"])
    assert module.count(example_inputs(7, range(7)), targets)["cosent"] == 6


def test_cosines_are_of_vectors_of_any_length():
    outputs, targets = drawn(5)
    module = CoSent(head="it").build(HEAD)
    turned = outputs | {side: F.normalize(outputs[side], dim=-1) for side in ("query", "positive")}
    torch.testing.assert_close(module(outputs, targets), module(turned, targets))


def test_a_head_that_embeds_nothing_is_an_error():
    with pytest.raises(A2AError, match=r"`cosent` judges a head that embeds queries and documents .*`heads.it` is `reference`"):
        CoSent(head="it").build(ReferenceHead())
