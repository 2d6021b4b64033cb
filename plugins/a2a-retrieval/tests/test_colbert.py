import pytest
import torch
from sentence_transformers.multi_vector_encoder.losses import MultiVectorMultipleNegativesRankingLoss
from torch import nn
from torch.nn import functional as F

from a2a_core.errors import A2AError
from a2a_retrieval.colbert import ColBert
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.infonce import InfoNce
from a2a_retrieval.multi_vector import MultiVectorHead

HEAD = MultiVectorHead(negatives="negatives")


def drawn(size, slots):
    """Outputs whose every item is there, with one to three tokens, and different ids."""
    outputs = {}
    for side, shape in (("query", (size, 3)), ("positive", (size, 4)), ("negative", (size, slots, 4))):
        mask = torch.arange(shape[-1]) < torch.randint(1, shape[-1] + 1, (*shape[:-1], 1))
        vectors = F.normalize(torch.randn(*shape, 6, dtype=torch.float64), dim=-1).requires_grad_()
        outputs |= {side: vectors, f"{side}_mask": mask}
    targets = {
        "query_id": torch.arange(1, size + 1),
        "positive_id": torch.arange(101, size + 101),
        "negative_id": torch.arange(1001, size * slots + 1001).view(size, slots),
        "relevant": torch.zeros(size, 0, dtype=torch.int64),
        "relevance": torch.zeros(size, 0),
    }
    return outputs, targets


class Stock(nn.Module):
    """Gives what it is given."""

    def forward(self, features, task=None):
        return {"token_embeddings": features["x"], "attention_mask": features["mask"]}


def columns(outputs):
    """As sentence-transformers has them: queries, positives, the first negatives, the second ones."""
    found = [(outputs["query"], outputs["query_mask"]), (outputs["positive"], outputs["positive_mask"])]
    found += zip(outputs["negative"].unbind(1), outputs["negative_mask"].unbind(1), strict=True)
    return [{"x": vectors, "mask": mask} for vectors, mask in found]


@pytest.mark.parametrize("slots", [0, 2])
def test_late_interaction_is_judged_as_by_sentence_transformers(slots):
    outputs, targets = drawn(5, slots)
    total = ColBert(head="it", temperature=0.5).build(HEAD)(outputs, targets)["colbert"]
    reference = MultiVectorMultipleNegativesRankingLoss(Stock(), scale=2.0)(columns(outputs))
    torch.testing.assert_close(total / 5, reference.double(), rtol=1e-5, atol=1e-6)
    leaves = [outputs[side] for side in ("query", "positive", "negative")[: 3 if slots else 2]]
    wanted = torch.autograd.grad(reference, leaves)
    torch.testing.assert_close(torch.autograd.grad(total / 5, leaves), wanted, rtol=1e-4, atol=1e-6)


def test_scores_by_the_length_of_the_query():
    outputs, targets = drawn(4, 1)
    found = ColBert(head="it", by_length=True, temperature=0.1, symmetric=True).build(HEAD)(outputs, targets)["colbert"]
    lengths = outputs["query_mask"].sum(1)
    documents = [*zip(outputs["positive"], outputs["positive_mask"], strict=True)]
    documents += zip(outputs["negative"][:, 0], outputs["negative_mask"][:, 0], strict=True)
    scores = torch.stack(
        [
            torch.stack([(query[asked] @ document[there].T).amax(1).mean() for document, there in documents])
            for query, asked in zip(outputs["query"], outputs["query_mask"], strict=True)
        ]
    )
    own = torch.arange(4)
    wanted = (F.cross_entropy(scores / 0.1, own) + F.cross_entropy(scores[:, :4].T / 0.1, own)) * 2
    assert len(set(lengths.tolist())) > 1
    torch.testing.assert_close(found, wanted)


def test_the_temperature_is_the_losss_own_and_is_learned():
    outputs, targets = drawn(4, 1)
    module = ColBert(head="it", by_length=True, learn_temperature=True).build(HEAD)
    module(outputs, targets)["colbert"].backward()
    (parameter,) = module.parameters()
    assert parameter.grad.any()


def test_infonce_judges_the_same_head():
    outputs, targets = drawn(4, 1)
    found = InfoNce(head="it", temperature=1.0).build(HEAD)(outputs, targets)["infonce"]
    torch.testing.assert_close(found, ColBert(head="it").build(HEAD)(outputs, targets)["colbert"])


def test_one_vector_an_item_is_an_error():
    with pytest.raises(A2AError, match=r"compares token by token \(`multi-vector`\), and those of `heads.it`") as error:
        ColBert(head="it").build(EmbeddingHead())
    assert '`use = "infonce"`' in str(error.value)
    with pytest.raises(A2AError, match="`colbert` compares a positive with the row's own negatives"):
        ColBert(head="it", in_batch=False).build(MultiVectorHead())
