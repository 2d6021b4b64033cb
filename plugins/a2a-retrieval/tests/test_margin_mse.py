import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MarginMSELoss

from a2a_core.errors import A2AError
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.examples import example_inputs, examples, many_vectors
from a2a_retrieval.margin_mse import MarginMse

HEAD = EmbeddingHead(negatives="negatives")


def drawn(size, slots):
    query, positive = (torch.randn(size, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    negative = torch.randn(size, slots, 6, dtype=torch.float64, requires_grad=True)
    here = torch.ones(size, slots + 1, dtype=torch.bool)
    outputs = {"query": query, "query_mask": here[:, 0], "positive": positive, "positive_mask": here[:, 0]}
    return outputs | {"negative": negative, "negative_mask": here[:, 1:]}, {"teacher": torch.randn(size, slots + 1).double()}


@pytest.mark.parametrize("slots", [1, 3])
def test_all_negatives_are_judged_as_by_sentence_transformers(slots):
    outputs, targets = drawn(5, slots)
    total = MarginMse(head="it").build(HEAD)(outputs, targets)["margin_mse"]
    vectors = [outputs["query"], outputs["positive"], *outputs["negative"].unbind(1)]
    reference = MarginMSELoss(None).compute_loss_from_embeddings(vectors, targets["teacher"])
    torch.testing.assert_close(total / (5 * slots), reference)
    leaves = outputs["query"], outputs["positive"], outputs["negative"]
    torch.testing.assert_close(torch.autograd.grad(total / (5 * slots), leaves), torch.autograd.grad(reference, leaves))


def test_every_negative_with_a_score_counts():
    outputs, targets = drawn(4, 2)
    targets["teacher"][0, 0] = targets["teacher"][1, 2] = float("nan")
    outputs["negative_mask"] = outputs["negative_mask"].clone()
    outputs["negative_mask"][2, 1] = False
    found = MarginMse(head="it", scale=3.0).build(HEAD)(outputs, targets)["margin_mse"]
    wanted = 0.0
    for row, slot in ((1, 0), (2, 0), (3, 0), (3, 1)):
        query, teacher = outputs["query"][row], targets["teacher"][row]
        margin = query @ outputs["positive"][row] - query @ outputs["negative"][row, slot]
        wanted += (3.0 * margin - (teacher[0] - teacher[1 + slot])) ** 2
    torch.testing.assert_close(found, wanted)


def test_negatives_are_counted_from_inputs_and_targets_alone():
    head, outputs, targets = examples(7)
    module = MarginMse(head="it").build(head)
    teacher = targets["teacher"]
    wanted = (teacher[:, :1].isfinite() & teacher[:, 1:].isfinite() & outputs["negative_mask"])[:6].sum()
    assert module.count(example_inputs(7, range(7)), targets)["margin_mse"] == wanted == 10
    assert module.count(example_inputs(7, [6]), {"teacher": teacher[6:]})["margin_mse"] == 0
    assert module.count(example_inputs(7, range(7)), {"teacher": teacher[:, :1]})["margin_mse"] == 0


def test_many_vectors_have_margins_of_max_sim():
    head, outputs, targets = many_vectors(2)
    found = MarginMse(head="it").build(head)(outputs, targets)["margin_mse"]
    query = outputs["query"][0][outputs["query_mask"][0]]
    documents = [outputs["positive"][0][outputs["positive_mask"][0]], outputs["negative"][0, 0][outputs["negative_mask"][0, 0]]]
    positive, negative = ((query @ document.T).amax(1).sum() for document in documents)
    teacher = targets["teacher"][0]
    torch.testing.assert_close(found, (positive - negative - teacher[0] + teacher[1]) ** 2)


def test_a_head_without_negatives_is_an_error():
    with pytest.raises(
        A2AError, match="`margin-mse` compares a positive with the row's own negatives, and `heads.it`"
    ) as error:
        MarginMse(head="it").build(EmbeddingHead())
    assert "`negatives` of [heads.it]" in str(error.value)
