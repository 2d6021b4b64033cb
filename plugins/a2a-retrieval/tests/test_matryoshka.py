import pytest
import torch
from sentence_transformers.sentence_transformer.losses import CoSENTLoss, MatryoshkaLoss, MultipleNegativesRankingLoss
from torch import nn
from torch.nn import functional as F

from a2a_core.errors import A2AError
from a2a_core.testing.reference import ReferenceHead
from a2a_retrieval.colbert import ColBert
from a2a_retrieval.cosent import CoSent
from a2a_retrieval.distillation import Distillation
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.examples import examples, many_vectors
from a2a_retrieval.infonce import InfoNce
from a2a_retrieval.margin_mse import MarginMse
from a2a_retrieval.matryoshka import Matryoshka
from a2a_retrieval.siglip import SigLip
from a2a_retrieval.triplet import Triplet


def wrapped(inner, dimensions=(3, 8), **options):
    return Matryoshka(head="it", inner=inner, dimensions=dimensions, **options)


def drawn(size=5):
    """The first rows of the examples, as leaves; each has a query of its own."""
    head, outputs, targets = examples(7)
    outputs = {name: value[:size] for name, value in outputs.items()}
    outputs |= {name: value.double().requires_grad_() for name, value in outputs.items() if value.is_floating_point()}
    return head, outputs, {name: value[:size] for name, value in targets.items()} | {"query_id": torch.arange(1, size + 1)}


class Stock(nn.Module):
    """Gives what it is given."""

    def forward(self, features):
        return {"sentence_embedding": features["x"]}

    def get_embedding_dimension(self):
        return 8


@pytest.mark.parametrize("weights", [(), (0.25, 2.0)])
@pytest.mark.parametrize("use", ["infonce", "cosent"])
def test_it_is_the_loss_of_sentence_transformers(use, weights):
    head, outputs, targets = drawn()
    model, inner = Stock(), {"infonce": InfoNce(head="it", temperature=0.05), "cosent": CoSent(head="it")}[use]
    (total,) = (
        wrapped(inner, weights=weights)
        .build(head)(outputs | {"negative_mask": outputs["negative_mask"] & False}, targets)
        .values()
    )
    stock = {"infonce": MultipleNegativesRankingLoss, "cosent": CoSENTLoss}[use](model, scale=20.0)
    columns = [{"x": outputs["query"]}, {"x": outputs["positive"]}]
    reference = MatryoshkaLoss(model, stock, [3, 8], list(weights) or None)(columns, targets["score"])
    torch.testing.assert_close(total / 5, reference)
    leaves = outputs["query"], outputs["positive"]
    torch.testing.assert_close(torch.autograd.grad(total / 5, leaves), torch.autograd.grad(reference, leaves))


@pytest.mark.parametrize(
    "inner",
    [
        InfoNce(head="it"),
        SigLip(head="it"),
        Triplet(head="it"),
        CoSent(head="it"),
        MarginMse(head="it"),
        Distillation(head="it"),
        Distillation(head="it", teacher="big"),
        Distillation(head="it", teacher="big", match="embeddings"),
    ],
    ids=lambda inner: inner.name,
)
def test_any_loss_is_that_of_cut_vectors(inner):
    head, outputs, targets = drawn()
    sides = ("query", "positive", "negative")
    teacher = {f"teacher/{side}": F.normalize(outputs[side].flip(-1) + 0.1, dim=-1).detach() for side in sides}
    outputs |= teacher | {f"teacher/{side}_mask": outputs[f"{side}_mask"] for side in sides}
    (total,) = wrapped(inner, weights=(1.0, 3.0)).build(head)(outputs, targets).values()
    module, wanted = inner.build(head), 0
    names = [*sides, *teacher] if getattr(inner, "match", "") == "embeddings" else sides
    for size, weight in ((3, 1), (8, 3)):
        cut = {name: F.normalize(outputs[name][..., :size], dim=-1) for name in names}
        wanted += weight * sum(module(outputs | cut, targets).values())
    torch.testing.assert_close(total, wanted)
    assert total > 0
    config = wrapped(inner)
    assert (config.beside(), config.least(), config.distinct(head)) == (inner.beside(), inner.least(), inner.distinct(head))


def test_vectors_a_token_are_cut_too():
    head, outputs, targets = many_vectors(7)
    inner = ColBert(head="it", symmetric=True)
    (total,) = wrapped(inner, (2, 5)).build(head)(outputs, targets).values()
    module, wanted = inner.build(head), 0
    for size in (2, 5):
        cut = {name: F.normalize(outputs[name][..., :size], dim=-1) for name in ("query", "positive", "negative")}
        wanted += module(outputs | cut, targets)["colbert"]
    torch.testing.assert_close(total, wanted)


def test_vectors_of_any_length_stay_so():
    _, outputs, targets = drawn()
    head = EmbeddingHead(query="image", positive="audio", negatives="noise", dimension=8, normalise=False)
    (total,) = wrapped(MarginMse(head="it"), (3,)).build(head)(outputs, targets).values()
    cut = {name: outputs[name][..., :3] for name in ("query", "positive", "negative")}
    torch.testing.assert_close(total, MarginMse(head="it").build(head)(outputs | cut, targets)["margin_mse"])


def test_a_temperature_is_learned_by_all_and_saved_once():
    head, outputs, targets = drawn()
    module = wrapped(InfoNce(head="it", learn_temperature=True)).build(head)
    assert len(module.state_dict()) == 1
    module(outputs, targets)["matryoshka"].backward()
    (parameter,) = module.parameters()
    assert parameter.grad.any()


def test_steps_are_watched_once_whatever_the_number_of_dimensions():
    """What says that there is never anything to compare counts steps, not cuts."""
    head, outputs, targets = drawn()
    module = wrapped(InfoNce(head="it"), tuple(range(1, 9))).build(head).train()
    nothing = torch.zeros(0, dtype=torch.int64)
    inputs = wrapped(InfoNce(head="it")).example_inputs(7, [1]) | {"noise": {"row": nothing, "slot": nothing, "slots": 1}}
    for _ in range(20):
        module.count(inputs, targets)
        module({name: value[:1] for name, value in outputs.items()}, {name: value[:1] for name, value in targets.items()})
    assert module.inner.lonely == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimensions": ()}, "`dimensions` is empty"),
        ({"dimensions": (4, 8, 4)}, "`dimensions` has 4 more than once"),
        ({"dimensions": (4, 0)}, "`dimensions` must be > 0, got 0"),
        ({"dimensions": (4, 8), "weights": (1.0,)}, "`weights` has 1 numbers, and `dimensions` 2"),
        ({"dimensions": (4,), "weights": (0.0,)}, "all `weights` are 0"),
        ({"inner": InfoNce(head="other")}, "judges the head `it`, and its `inner` loss `other`"),
        ({"inner": InfoNce(head="it", weight=0.5)}, "`inner.weight` would count beside"),
    ],
)
def test_what_cannot_be_is_said_when_a_recipe_is_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Matryoshka(**{"head": "it", "inner": InfoNce(head="it"), "dimensions": (4,)} | options)


def test_dimensions_that_a_head_cannot_give_are_an_error():
    config = wrapped(InfoNce(head="it"), (4, 16))
    message = r"cuts vectors to their first 16 channels \(`dimensions`\), and "
    with pytest.raises(A2AError, match=message + "`heads.it` makes vectors of 8"):
        config.build(examples(7)[0])
    unknown = EmbeddingHead(query="image", positive="audio", negatives="noise")  # of as many channels as its encoders
    _, outputs, targets = drawn()
    with pytest.raises(A2AError, match=message + "its head makes vectors of 8"):
        config.build(unknown)(outputs, targets)
    with pytest.raises(A2AError, match="judges a head that embeds queries and documents"):
        config.build(ReferenceHead())
