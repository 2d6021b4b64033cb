import math

import pytest
import torch
from torch.nn import functional as F
from transformers import SiglipConfig, SiglipModel

from a2a_core.errors import A2AError
from a2a_core.testing.reference import ReferenceHead
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.pairs import PairTarget
from a2a_retrieval.siglip import SigLip

HEAD = EmbeddingHead(negatives="negatives")
TARGET = PairTarget({"query": ["query"], "positive": ["positive"], "negative": ["negatives"]})


def build(**options):
    return SigLip(head="pair", **options).build(HEAD)


def drawn(size, negatives=0, dtype=torch.float32):
    outputs = {}
    for side, shape in {"query": (size,), "positive": (size,), "negative": (size, negatives)}.items():
        outputs[side] = F.normalize(torch.randn(*shape, 6, dtype=dtype), dim=-1)
        outputs[f"{side}_mask"] = torch.ones(shape, dtype=torch.bool)
    rows = [{"query": f"q{i}", "positive": f"p{i}", "negatives": [f"n{i}.{k}" for k in range(negatives)]} for i in range(size)]
    return outputs, TARGET.pad([TARGET(row) for row in rows])


def judge(module, outputs, targets):
    return module(outputs, targets)["siglip"]


def test_pairs_are_judged_as_by_transformers():
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    texts = small | {"vocab_size": 20, "max_position_embeddings": 4, "projection_size": 8}
    config = SiglipConfig(text_config=texts, vision_config=small | {"image_size": 8, "patch_size": 4})
    model = SiglipModel(config).eval()
    model.logit_scale.data.fill_(1.3)
    model.logit_bias.data.fill_(-2.0)
    theirs = model(input_ids=torch.randint(20, (5, 4)), pixel_values=torch.randn(5, 3, 8, 8), return_loss=True)
    _, targets = drawn(5)
    here, none = torch.ones(5).bool(), torch.zeros(5, 0)
    outputs = {"query": theirs.text_embeds, "query_mask": here, "positive": theirs.image_embeds, "positive_mask": here}
    outputs |= {"negative": torch.zeros(5, 0, 8), "negative_mask": none.bool()}
    found = judge(build(temperature=math.exp(-1.3), bias=-2.0), outputs, targets) / 5
    torch.testing.assert_close(found, theirs.loss)


def test_the_formula_in_float64():
    outputs, targets = drawn(4, 2, torch.float64)
    documents = torch.cat([outputs["positive"], outputs["negative"].flatten(0, 1)])
    wanted = 0.0
    for i, query in enumerate(outputs["query"]):
        for j, document in enumerate(documents):
            sign = -1 if i == j else 1
            wanted += math.log1p(math.exp(sign * (float(query @ document) / 0.1 - 10)))
    found = judge(build(), outputs, targets)
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(wanted, rel=1e-6)  # the temperature itself is float32


def test_what_is_known_or_not_there_is_not_compared():
    """Row 1 has row 0's positive, row 2 has none, row 3 has no query and one negative less."""
    outputs, _ = drawn(4, 2)
    rows = [{"query": f"q{i}", "positive": f"p{max(i, 1)}", "negatives": [f"n{i}.{k}" for k in range(2)]} for i in range(4)]
    targets = TARGET.pad([TARGET(row) for row in rows])
    outputs["positive_mask"][2] = outputs["query_mask"][3] = outputs["negative_mask"][3, 1] = False
    documents = torch.cat([outputs["positive"], outputs["negative"].flatten(0, 1)])
    logits = outputs["query"] @ documents.T / 0.1 - 10

    def total(left_out):
        kept = [(i, j) for i in (0, 1) for j in range(12) if j not in (2, 11) and (i, j) not in left_out]
        return sum(F.softplus(-logits[i, j] if i == j else logits[i, j]) for i, j in kept)

    torch.testing.assert_close(judge(build(), outputs, targets), total({(0, 1), (1, 0)}))
    torch.testing.assert_close(judge(build(mask_known=False), outputs, targets), total(set()))


def test_temperature_and_bias_are_learned_unless_they_are_fixed():
    module, (outputs, targets) = build(), drawn(6)
    judge(module, outputs, targets).backward()
    assert {name: bool(each.grad.any()) for name, each in module.named_parameters()} == {
        "temperature.logit_scale": True,
        "logit_bias": True,
    }
    assert not list(build(learn_temperature=False, learn_bias=False).parameters())


def test_it_is_computed_in_float32_under_autocast():
    module, (outputs, targets) = build(), drawn(20, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = judge(module, outputs, targets)
    torch.testing.assert_close(found, judge(module, outputs, targets))


def test_what_does_not_fit_is_an_error():
    with pytest.raises(A2AError, match=r"`siglip` judges a head that embeds queries.*and `heads.pair` is `reference`"):
        SigLip(head="pair").build(ReferenceHead())
    with pytest.raises(ValueError, match="`temperature` 0.0005 lies below `min_temperature` 0.001"):
        SigLip(head="pair", temperature=0.0005)


def test_rows_that_a_step_needs():
    assert SigLip(head="pair").least() == 2
    assert SigLip(head="pair").distinct(EmbeddingHead(positive_key="page")) == "page"
    assert SigLip(head="pair", distinct_positives=False).distinct(EmbeddingHead(positive_key="page")) == ""
