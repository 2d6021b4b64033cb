import pytest
import torch
from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss, EmbedDistillLoss
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from a2a_core.errors import A2AError
from a2a_retrieval.distillation import Distillation
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.examples import example_inputs, examples
from a2a_retrieval.multi_vector import MultiVectorHead

HEAD = EmbeddingHead(negatives="negatives")


def drawn(size, slots=2, width=6):
    query, positive = (torch.randn(size, width, dtype=torch.float64, requires_grad=True) for _ in range(2))
    negative = torch.randn(size, slots, width, dtype=torch.float64, requires_grad=True)
    here = torch.ones(size, slots + 1, dtype=torch.bool)
    outputs = {"query": query, "query_mask": here[:, 0], "positive": positive, "positive_mask": here[:, 0]}
    return outputs | {"negative": negative, "negative_mask": here[:, 1:]}


def with_teacher(outputs, teacher):
    return outputs | {f"teacher/{name}": value for name, value in teacher.items()}


def leaves(outputs):
    return [outputs[side] for side in ("query", "positive", "negative")]


@pytest.mark.parametrize(("one", "other"), [(1.0, None), (0.5, None), (0.2, 2.0)])
def test_a_rows_scores_are_learned_as_by_sentence_transformers(one, other):
    outputs, teacher = drawn(5), torch.randn(5, 3).double()
    module = Distillation(head="it", temperature=one, teacher_temperature=other).build(HEAD)
    total = module(outputs, {"teacher": teacher})["distillation"]
    stock = DistillKLDivLoss(None, temperature=one, teacher_temperature=other)
    vectors = [outputs["query"], outputs["positive"], *outputs["negative"].unbind(1)]
    reference = stock.compute_loss_from_embeddings(vectors, teacher)
    torch.testing.assert_close(total / 5, reference)
    torch.testing.assert_close(torch.autograd.grad(total / 5, leaves(outputs)), torch.autograd.grad(reference, leaves(outputs)))


def test_rows_and_documents_without_a_score_do_not_count():
    outputs, teacher = drawn(4), torch.randn(4, 3).double()
    teacher[0, 0] = teacher[1, 2] = teacher[2, 1] = teacher[2, 2] = float("nan")
    module = Distillation(head="it").build(HEAD)
    found = module(outputs, {"teacher": teacher})["distillation"]
    wanted = 0
    for row, documents in ((1, [0, 1]), (3, [0, 1, 2])):
        vectors = torch.cat([outputs["positive"][row][None], outputs["negative"][row]])[documents]
        student, target = (vectors @ outputs["query"][row]).log_softmax(0), teacher[row, documents].log_softmax(0)
        wanted += F.kl_div(student, target, reduction="sum", log_target=True)
    torch.testing.assert_close(found, wanted)
    found.backward()
    assert not outputs["query"].grad[[0, 2]].any()
    assert torch.isfinite(outputs["query"].grad).all()
    head, _, targets = examples(7)
    assert Distillation(head="it").build(head).count(example_inputs(7, range(7)), targets)["distillation"] == 6


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_teacher_heads_scores_of_all_documents(symmetric):
    outputs, teacher = drawn(4), drawn(4, width=9)
    outputs["positive_mask"] = teacher["positive_mask"] = torch.tensor([True, False, True, True])
    config = Distillation(head="it", teacher="big", temperature=0.5, teacher_temperature=2.0, symmetric=symmetric)
    total = config.build(HEAD)(with_teacher(outputs, teacher), {})["distillation"]
    rows, wanted = [0, 2, 3], 0
    there = torch.tensor([True, False, *[True] * 10])

    def apart(student, target):
        return F.kl_div((student / 0.5).log_softmax(-1), (target / 2.0).log_softmax(-1), reduction="sum", log_target=True)

    documents = [torch.cat([each["positive"], each["negative"].flatten(0, 1)])[there] for each in (outputs, teacher)]
    for row in rows:
        wanted += apart(*(of @ each["query"][row] for of, each in zip(documents, (outputs, teacher), strict=True)))
        if symmetric:
            wanted += apart(*(each["query"] @ each["positive"][row] for each in (outputs, teacher)))
    torch.testing.assert_close(total, wanted * 0.25 / (2 if symmetric else 1))
    total.backward()
    assert all(leaf.grad.any() for leaf in leaves(outputs))
    assert not any(leaf.grad is not None for leaf in leaves(teacher))


@pytest.mark.parametrize("distance", ["mse", "cosine"])
def test_a_teacher_heads_embeddings_are_learned_as_by_sentence_transformers(distance):
    outputs, teacher = drawn(5, 1), drawn(5, 1)
    config = Distillation(head="it", teacher="big", match="embeddings", distance=distance)
    total = config.build(HEAD)(with_teacher(outputs, teacher), {})["distillation"]
    columns = [[each["query"], each["positive"], each["negative"][:, 0]] for each in (outputs, teacher)]
    stock = EmbedDistillLoss(None, distance_metric=distance)
    torch.testing.assert_close(total / 15, stock.compute_loss_from_embeddings(*columns))


def test_every_vector_counts_by_itself():
    head, outputs, targets = examples(7)
    module = Distillation(head="it", teacher="big", match="embeddings").build(head)
    teacher = {name: value * 0 if value.is_floating_point() else value for name, value in outputs.items()}
    count = module.count(example_inputs(7, range(7)), targets)["distillation"]
    assert count == 7 + 6 + 11
    found = module(with_teacher(outputs, teacher), targets)["distillation"]
    torch.testing.assert_close(found, count / 8)  # vectors of length 1, and 8 channels


def test_a_teacher_of_another_size_or_of_other_rows_is_an_error():
    outputs = drawn(3)
    module = Distillation(head="it", teacher="big", match="embeddings").build(HEAD)
    with pytest.raises(A2AError, match=r"another shape: query \(3, 6\) against \(3, 9\)"):
        module(with_teacher(outputs, drawn(3, width=9)), {})
    other = drawn(3) | {"positive_mask": torch.tensor([True, True, False])}
    for options in ({}, {"match": "embeddings"}):
        with pytest.raises(A2AError, match="has not read what the student has: the two heads' positive items differ"):
            Distillation(head="it", teacher="big", **options).build(HEAD)(with_teacher(outputs, other), {})
    with pytest.raises(A2AError, match="the two heads' negative items differ"):
        Distillation(head="it", teacher="big").build(HEAD)(with_teacher(outputs, drawn(3, 1)), {})


def test_what_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="cannot be its own `teacher`"):
        Distillation(head="it", teacher="it")
    with pytest.raises(ValueError, match='`match = "embeddings"` needs `teacher`'):
        Distillation(head="it", match="embeddings")
    for options in ({}, {"teacher": "big", "match": "embeddings"}):
        with pytest.raises(ValueError, match="`symmetric` is for scores of a `teacher` head"):
            Distillation(head="it", symmetric=True, **options)
    with pytest.raises(A2AError, match="`heads.it` reads none"):
        Distillation(head="it").build(EmbeddingHead())
    with pytest.raises(A2AError, match='`distillation` with `match = "embeddings"` compares one vector an item'):
        Distillation(head="it", teacher="big", match="embeddings").build(MultiVectorHead())
    assert Distillation(head="it", teacher="big").beside() == {"teacher": "big"}
    assert Distillation(head="it").beside() == {}


def test_a_model_that_is_looked_at_has_no_rows_to_compare():
    outputs = with_teacher(drawn(3), drawn(3, width=9))
    module = Distillation(head="it", teacher="big").build(HEAD)
    with FakeTensorMode() as mode:
        stand_ins = {name: mode.from_tensor(value) for name, value in outputs.items()}
        assert module(stand_ins, {})["distillation"].shape == ()
