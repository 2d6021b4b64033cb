import pytest
import torch
from sentence_transformers.sentence_transformer.losses import (
    BatchAllTripletLoss,
    BatchHardSoftMarginTripletLoss,
    BatchHardTripletLoss,
    BatchHardTripletLossDistanceFunction,
    BatchSemiHardTripletLoss,
    TripletLoss,
)
from sentence_transformers.sentence_transformer.losses.triplet import TripletDistanceMetric
from torch import nn
from torch.nn import functional as F

from a2a_core.errors import A2AError
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.examples import example_inputs, examples, many_vectors
from a2a_retrieval.multi_vector import MultiVectorHead
from a2a_retrieval.triplet import Triplet

HEAD = EmbeddingHead(negatives="negatives")
METRICS = {
    "cosine": BatchHardTripletLossDistanceFunction.cosine_distance,
    "euclidean": BatchHardTripletLossDistanceFunction.eucledian_distance,
}


def drawn(size, slots=0, query_id=None):
    leaves = [torch.randn(*shape, 6, dtype=torch.float64, requires_grad=True) for shape in ((size,), (size,), (size, slots))]
    here = torch.ones(size, slots + 1, dtype=torch.bool)
    outputs = {"query": leaves[0], "positive": leaves[1], "negative": leaves[2]}
    outputs |= {"query_mask": here[:, 0], "positive_mask": here[:, 0], "negative_mask": here[:, 1:]}
    return outputs, ids(size, slots, query_id)


def ids(size, slots=0, query_id=None):
    return {
        "query_id": torch.arange(1, size + 1) if query_id is None else torch.tensor(query_id),
        "positive_id": torch.arange(101, size + 101),
        "negative_id": torch.arange(1001, size * slots + 1001).view(size, slots),
        "relevant": torch.zeros(size, 0, dtype=torch.int64),
        "relevance": torch.zeros(size, 0),
    }


def judge(outputs, targets, head=HEAD, **options):
    return Triplet(head="it", **options).build(head)(outputs, targets)["triplet"]


@pytest.mark.parametrize("distance", METRICS)
def test_given_negatives_are_judged_as_by_torch_and_sentence_transformers(distance):
    outputs, targets = drawn(5, 1)
    vectors = outputs["query"], outputs["positive"], outputs["negative"][:, 0]
    found = judge(outputs, targets, mining="given", distance=distance, margin=0.7)
    metric = {"cosine": TripletDistanceMetric.COSINE, "euclidean": TripletDistanceMetric.EUCLIDEAN}[distance]
    stock = TripletLoss(None, metric, triplet_margin=0.7)
    torch.testing.assert_close(found / 5, stock.compute_loss_from_embeddings(list(vectors), None))
    if distance == "euclidean":
        torch.testing.assert_close(found, nn.TripletMarginLoss(margin=0.7, reduction="sum", eps=0)(*vectors))


def test_several_given_negatives_are_a_mean_and_rows_without_any_do_not_count():
    outputs, targets = drawn(3, 2)
    outputs["negative_mask"] = torch.tensor([[True, True], [True, False], [False, False]])
    found = judge(outputs, targets, mining="given", margin=1.0)
    query, positive, negative = (F.normalize(outputs[side], dim=-1) for side in ("query", "positive", "negative"))
    each = (1.0 - query @ positive.T).diag()[:, None] - (1.0 - (query[:, None] * negative).sum(-1)) + 1.0
    torch.testing.assert_close(found, each.relu()[0].mean() + each.relu()[1, 0])
    head, *_ = examples(7)
    module = Triplet(head="it", mining="given").build(head)
    inputs = example_inputs(7, range(7)) | {
        "noise": {"row": torch.tensor([0, 0, 6]), "slot": torch.tensor([0, 1, 0]), "slots": 2}
    }
    assert module.count(inputs, {})["triplet"] == 1  # the last has no positive
    assert Triplet(head="it").build(head).count(inputs, {})["triplet"] == 6


def labelled():
    """Vectors of three classes as queries and as documents, each of which belongs to all queries of its class."""
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 2])
    vectors = torch.randn(7, 6, dtype=torch.float64)
    here = torch.ones(7, 1, dtype=torch.bool)
    outputs = {"query": vectors, "positive": vectors, "negative": vectors[:, None][:, :0]}
    outputs |= {"query_mask": here[:, 0], "positive_mask": here[:, 0], "negative_mask": here[:, :0]}
    return labels, vectors, outputs, ids(7, query_id=(labels + 1).tolist())


@pytest.mark.parametrize("distance", METRICS)
@pytest.mark.parametrize("margin", [0.3, 5.0, "soft"])
def test_the_hardest_of_a_step_are_those_of_sentence_transformers(distance, margin):
    labels, vectors, outputs, targets = labelled()
    found = judge(outputs, targets, mining="hard", distance=distance, margin=margin)
    if margin == "soft":
        stock = BatchHardSoftMarginTripletLoss(None, distance_metric=METRICS[distance])
        reference = stock.batch_hard_triplet_soft_margin_loss(labels, vectors)
    else:
        stock = BatchHardTripletLoss(None, distance_metric=METRICS[distance], margin=margin)
        reference = stock.batch_hard_triplet_loss(labels, vectors)
    torch.testing.assert_close(found / 7, reference, rtol=1e-5, atol=1e-6)


def paired():
    """Two of each class, each the other's only positive."""
    labels = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    vectors = torch.randn(8, 6, dtype=torch.float64)
    here = torch.ones(8, 1, dtype=torch.bool)
    outputs = {"query": vectors, "positive": vectors.roll(4, 0), "negative": vectors[:, None]}
    outputs |= {"query_mask": here[:, 0], "positive_mask": here[:, 0], "negative_mask": ~here}
    return labels, vectors, outputs, ids(8, 1, (labels + 1).tolist())


@pytest.mark.parametrize("distance", METRICS)
def test_semi_hard_negatives_are_those_of_sentence_transformers(distance):
    labels, vectors, outputs, targets = paired()
    stock = BatchSemiHardTripletLoss(None, distance_metric=METRICS[distance], margin=0.8)
    found = judge(outputs, targets, mining="semi-hard", distance=distance, margin=0.8)
    torch.testing.assert_close(found / 8, stock.batch_semi_hard_triplet_loss(labels, vectors).double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("distance", METRICS)
def test_all_negatives_are_those_of_sentence_transformers(distance):
    """There triplets without a loss are left out of the mean: with such a margin none is."""
    labels, vectors, outputs, targets = paired()
    stock = BatchAllTripletLoss(None, METRICS[distance], margin=100.0)
    found = judge(outputs, targets, mining="all", distance=distance, margin=100.0)
    torch.testing.assert_close(found / 8, stock.batch_all_triplet_loss(labels, vectors), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("mining", ["all", "hard", "semi-hard"])
def test_documents_that_are_known_to_answer_are_no_negatives(mining):
    outputs, targets = drawn(4, 1)
    for known in ({"positive_id": torch.tensor([101, 102, 101, 104])}, {"query_id": torch.tensor([1, 2, 1, 4])}):
        linked = targets | known
        total = judge(outputs, linked, mining=mining, margin=50.0)
        first, *_ = torch.autograd.grad(total, outputs["positive"], retain_graph=True)
        alone = {name: value[:1] for name, value in outputs.items()}
        others = {name: value[[1, 2, 3]] for name, value in outputs.items()}
        distances = torch.cat([others["positive"][[0, 2]], *outputs["negative"]])
        assert first.any()
        cosines = F.cosine_similarity(alone["query"], distances)
        own = F.cosine_similarity(alone["query"], alone["positive"])
        if "query_id" in known and mining == "hard":
            own = torch.minimum(own, F.cosine_similarity(alone["query"], outputs["positive"][[2]]))
        chosen = {"all": cosines, "hard": cosines.max()}.get(mining)
        if chosen is None:
            farther = cosines[cosines < own]
            chosen = farther.max() if len(farther) else cosines.min()
        wanted = (chosen - own + 50).mean()
        rest = sum(each(outputs, linked, row, mining) for row in (1, 2, 3))
        torch.testing.assert_close(total, wanted + rest)


def each(outputs, targets, row, mining):
    """The loss of one row: what is left when all others' queries are taken away."""
    only = outputs | {"query_mask": torch.arange(4) == row}
    return judge(only, targets, mining=mining, margin=50.0)


def test_relevant_documents_of_other_rows_are_no_negatives():
    outputs, targets = drawn(2)
    relevant = targets | {"relevant": torch.tensor([[102], [0]]), "relevance": torch.tensor([[1.0], [0.0]])}
    found = judge(outputs, relevant, mining="all", margin=50.0)
    query, positive = (F.normalize(outputs[side], dim=-1) for side in ("query", "positive"))
    torch.testing.assert_close(found, query[1] @ positive[0] - query[1] @ positive[1] + 50)


def test_symmetric_looks_from_positives_to_queries_too():
    outputs, targets = drawn(5)
    turned = outputs | {"query": outputs["positive"], "positive": outputs["query"]}
    back = targets | {"query_id": targets["positive_id"], "positive_id": targets["query_id"]}
    for mining in ("all", "hard", "semi-hard"):
        both = (judge(outputs, targets, mining=mining) + judge(turned, back, mining=mining)) / 2
        torch.testing.assert_close(judge(outputs, targets, mining=mining, symmetric=True), both)


def test_a_query_alone_has_nothing_to_be_told_from():
    outputs, targets = drawn(1)
    for mining in ("all", "hard", "semi-hard"):
        for margin in (0.2, "soft"):
            total = judge(outputs, targets, mining=mining, margin=margin, symmetric=True)
            gradients = torch.autograd.grad(total, (outputs["query"], outputs["positive"]))
            assert total == 0
            assert not any(gradient.any() for gradient in gradients)


def test_equal_vectors_have_finite_gradients():
    outputs, targets = drawn(3, 1)
    same = torch.ones(3, 6, dtype=torch.float64, requires_grad=True)
    outputs |= {"query": same, "positive": same, "negative": same[:, None]}
    for mining in ("given", "all", "hard", "semi-hard"):
        (gradient,) = torch.autograd.grad(judge(outputs, targets, mining=mining, distance="euclidean"), same)
        assert gradient.isfinite().all()


def test_many_vectors_are_compared_by_max_sim():
    head, outputs, targets = many_vectors(2)
    found = judge(outputs, targets, head, mining="given", margin=9.0)
    query = outputs["query"][0][outputs["query_mask"][0]]
    documents = [outputs["positive"][0][outputs["positive_mask"][0]], outputs["negative"][0, 0][outputs["negative_mask"][0, 0]]]
    positive, negative = ((query @ document.T).amax(1).sum() for document in documents)
    torch.testing.assert_close(found, negative - positive + 9)


def test_what_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match='`mining = "given"` no rows'):
        Triplet(head="it", mining="given", symmetric=True)
    with pytest.raises(A2AError, match="`triplet` compares a positive with the row's own negatives, and `heads.it` reads none"):
        Triplet(head="it", mining="given").build(EmbeddingHead())
    with pytest.raises(A2AError, match='`triplet` with `distance = "euclidean"` compares one vector an item'):
        Triplet(head="it", distance="euclidean").build(MultiVectorHead())
    with pytest.raises(ValueError, match="`margin` must be > 0"):
        Triplet(head="it", margin=-1)
