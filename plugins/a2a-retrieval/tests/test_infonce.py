import math

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from torch.nn import functional as F
from transformers.models.clip.modeling_clip import image_text_contrastive_loss as clip_loss

from a2a_core.errors import A2AError
from a2a_core.gathering import one_behind_the_other
from a2a_core.testing.reference import ReferenceHead
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.in_batch_model import LONELY
from a2a_retrieval.infonce import InfoNce
from a2a_retrieval.multi_vector import MultiVectorHead
from a2a_retrieval.pairs import PairTarget

HEAD = EmbeddingHead(negatives="negatives")
TARGET = PairTarget({"query": ["query"], "positive": ["positive"], "negative": ["negatives"]})


def build(head=HEAD, **options):
    return InfoNce(head="pair", **options).build(head)


def drawn(size, negatives=0, width=6, dtype=torch.float32):
    """Random unit vectors, all there, of rows that know nothing of one another."""
    shapes = {"query": (size,), "positive": (size,), "negative": (size, negatives)}
    outputs = {}
    for side, shape in shapes.items():
        outputs[side] = F.normalize(torch.randn(*shape, width, dtype=dtype), dim=-1)
        outputs[f"{side}_mask"] = torch.ones(shape, dtype=torch.bool)
    rows = [{"query": f"q{i}", "positive": f"p{i}", "negatives": [f"n{i}.{k}" for k in range(negatives)]} for i in range(size)]
    return outputs, TARGET.pad([TARGET(row) for row in rows])


def judge(module, outputs, targets):
    return module(outputs, targets)["infonce"]


def sides_of(outputs):
    return [outputs["query"], outputs["positive"], *outputs["negative"].unbind(1)]


def test_documents_of_all_rows_are_judged_as_by_sentence_transformers():
    outputs, targets = drawn(6, 2)
    found = judge(build(), outputs, targets) / 6
    torch.testing.assert_close(found, MultipleNegativesRankingLoss(None).compute_loss_from_embeddings(sides_of(outputs), None))
    cached = CachedMultipleNegativesRankingLoss([None], mini_batch_size=2)
    torch.testing.assert_close(found, cached.calculate_loss([list(side.split(2)) for side in sides_of(outputs)]))


def test_both_ways_are_judged_as_by_sentence_transformers_and_clip():
    outputs, targets = drawn(6, 2)
    theirs = MultipleNegativesRankingLoss(None, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction")
    wanted = theirs.compute_loss_from_embeddings(sides_of(outputs), None)
    torch.testing.assert_close(judge(build(symmetric=True), outputs, targets) / 6, wanted)
    outputs, targets = drawn(9)
    found = judge(build(symmetric=True, temperature=0.2), outputs, targets) / 9
    torch.testing.assert_close(found, clip_loss(outputs["positive"] @ outputs["query"].T / 0.2))


def test_the_formula_in_float64():
    outputs, targets = drawn(5, 1, dtype=torch.float64)
    documents = torch.cat([outputs["positive"], outputs["negative"][:, 0]])
    scores = (outputs["query"] @ documents.T / 0.07).tolist()
    wanted = sum(math.log(sum(map(math.exp, row))) - row[i] for i, row in enumerate(scores))
    found = judge(build(temperature=0.07), outputs, targets)
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(wanted, rel=1e-6)  # the temperature itself is float32


def test_many_vectors_are_compared_by_maxsim():
    names = {"query": (4, 3), "positive": (4, 5), "negative": (4, 2, 5)}
    outputs = {side: F.normalize(torch.randn(*shape, 6), dim=-1) for side, shape in names.items()}
    outputs |= {f"{side}_mask": torch.ones(shape, dtype=torch.bool) for side, shape in names.items()}
    outputs["negative_mask"][1, 1] = False
    _, targets = drawn(4, 2)
    documents = [*outputs["positive"], *outputs["negative"].flatten(0, 1)]
    wanted = 0
    for row, query in enumerate(outputs["query"]):
        scores = torch.stack([(query @ document.T).max(1).values.sum() for document in documents])
        scores[4 + 3] = -math.inf
        wanted = wanted + F.cross_entropy(scores / 2, torch.tensor(row))
    module = build(MultiVectorHead(negatives="negatives"), temperature=2.0)
    torch.testing.assert_close(judge(module, outputs, targets), wanted)


def known(rows):
    return TARGET.pad([TARGET(row) for row in rows])


KNOWN = {  # what rows say, and which documents (three positives, then three negatives) are no negatives of the first query
    "the same positive": ([{"positive": "p"}, {"positive": "p"}, {}], [1]),
    "the same positive by id": ([{"positive_id": 7}, {}, {"positive_id": 7}], [2]),
    "the same query": ([{"query": "q"}, {"query": "q"}, {}], [1]),
    "the same query by id": ([{"query_id": "q"}, {}, {"query_id": "q"}], [2]),
    "the positive of the same query, elsewhere": ([{"query": "q"}, {"query": "q", "positive": "p"}, {"positive": "p"}], [1, 2]),
    "relevant": ([{"relevant": {"p1": 1, "p2": 0, "n2": 2}}, {}, {}], [1, 5]),
    "relevant to the same query, elsewhere": ([{"query": "q"}, {}, {"query": "q", "relevant": ["n1"]}], [2, 4]),
    "another's negative": ([{"positive": "p"}, {"negatives": ["p"]}, {}], [4]),
}


@pytest.mark.parametrize(("rows", "masked"), KNOWN.values(), ids=KNOWN)
def test_what_is_known_to_answer_a_query_is_no_negative(rows, masked):
    plain = [{"query": f"q{i}", "positive": f"p{i}", "negatives": [f"n{i}"]} for i in range(3)]
    targets = known([one | other for one, other in zip(plain, rows, strict=True)])
    outputs, _ = drawn(3, 1)
    outputs["query_mask"] = torch.tensor([True, False, False])  # the other rows are documents alone
    scores = outputs["query"][0] @ torch.cat([outputs["positive"], outputs["negative"][:, 0]]).T / 0.05
    own = torch.tensor(0)
    torch.testing.assert_close(judge(build(mask_known=False), outputs, targets), F.cross_entropy(scores, own))
    scores[masked] = -math.inf
    torch.testing.assert_close(judge(build(), outputs, targets), F.cross_entropy(scores, own))


def test_both_ways_leave_out_what_is_known():
    """The second row has the first one's positive: the two are one another's, both ways."""
    outputs, _ = drawn(3)
    targets = known([{"query": f"q{i}", "positive": positive} for i, positive in enumerate(("p", "p", "r"))])
    scores = outputs["query"] @ outputs["positive"].T / 0.05
    scores[0, 1] = scores[1, 0] = -math.inf
    own = torch.arange(3)
    wanted = (F.cross_entropy(scores, own, reduction="sum") + F.cross_entropy(scores.T, own, reduction="sum")) / 2
    torch.testing.assert_close(judge(build(symmetric=True), outputs, targets), wanted)


@pytest.mark.parametrize("options", [{"symmetric": True}, {"in_batch": False}])
def test_what_is_not_there_neither_counts_nor_compares(options):
    """Row 1 has no positive, row 2 no query, row 3 no negatives but one."""
    outputs, targets = drawn(5, 2)
    outputs["positive_mask"][1] = outputs["query_mask"][2] = outputs["negative_mask"][3, 1] = False
    for name in ("query", "positive", "negative"):
        outputs[name].requires_grad_()
    total = judge(build(**options), outputs, targets)
    total.backward()
    for name in ("query", "positive", "negative"):
        assert not outputs[name].grad[~outputs[f"{name}_mask"]].any()
        changed = outputs[name].detach().clone()
        changed[~outputs[f"{name}_mask"]] = 100.0
        torch.testing.assert_close(judge(build(**options), outputs | {name: changed}, targets), total)


def test_a_row_among_its_own_documents():
    outputs, targets = drawn(4, 2)
    outputs["negative_mask"][2] = False
    documents = torch.cat([outputs["positive"][:, None], outputs["negative"]], 1)
    scores = torch.einsum("qd,qkd->qk", outputs["query"], documents) / 0.05
    wanted = F.cross_entropy(scores[[0, 1, 3]], torch.zeros(3, dtype=torch.int64), reduction="sum")
    torch.testing.assert_close(judge(build(in_batch=False), outputs, targets), wanted)
    targets["relevant"] = torch.cat([targets["relevant"], targets["negative_id"][:, :1]], 1)
    targets["relevance"] = torch.ones_like(targets["relevance"]).repeat(1, 2)
    wanted = F.cross_entropy(scores[[0, 1, 3]][:, [0, 2]], torch.zeros(3, dtype=torch.int64), reduction="sum")
    torch.testing.assert_close(judge(build(in_batch=False), outputs, targets), wanted)


def test_micro_batches_may_cut_the_rows_anywhere():
    """Those with fewer negatives are narrower, those without any have places that targets know nothing of."""
    outputs, targets = drawn(6, 2)
    for row, count in enumerate((0, 0, 2, 1, 0, 2)):
        outputs["negative"][row, count:], outputs["negative_mask"][row, count:], targets["negative_id"][row, count:] = (
            0,
            False,
            0,
        )
    found = []
    for sizes in ((6,), (2, 4), (1, 1, 3, 1)):
        parts = []
        for rows in torch.arange(6).split(sizes):
            most = int(outputs["negative_mask"][rows].sum(1).max())
            made = {name: value[rows] for name, value in outputs.items()}
            made |= {name: made[name][:, : max(1, most)] for name in ("negative", "negative_mask")}
            said = {name: value[rows] for name, value in targets.items()}
            parts.append((made, said | {"negative_id": said["negative_id"][:, :most]}))
        found.append(judge(build(), *(one_behind_the_other([part[place] for part in parts]) for place in (0, 1))))
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


def media(*places):
    row, slot = torch.tensor(places, dtype=torch.int64).view(-1, 2).unbind(1)
    return {"row": row, "slot": slot, "slots": 1 + int(slot.max()) if len(slot) else 1}


def test_pairs_are_counted_from_inputs_alone():
    inputs = {"size": 4, "query": media((0, 0), (1, 0), (3, 0)), "positive": media((1, 0), (2, 0), (3, 0))}
    inputs["negatives"] = media((1, 0), (1, 1), (2, 0))
    assert build().count(inputs, {}) == {"infonce": 2}
    assert build(in_batch=False).count(inputs, {}) == {"infonce": 1}
    nothing = {"size": 1, "query": media((0, 0)), "positive": media(), "negatives": media()}
    assert build().count(nothing, {}) == {"infonce": 0}


def test_steps_that_leave_nothing_to_compare_end_the_run():
    module = build()
    pair = {"size": 1, "query": media((0, 0)), "positive": media((0, 0)), "negatives": media()}
    hard = pair | {"negatives": media((0, 0))}

    def step(*batches):
        for batch in batches:
            module.count(batch, {})
        for _ in range(2):  # another loss may ask it twice a step
            module(*drawn(len(batches), 1))

    for window in [[pair]] * (LONELY - 1) + [[pair, pair]] + [[pair]] * (LONELY - 1) + [[hard]] + [[pair]] * (LONELY - 1):
        step(*window)
    module.eval()
    step(pair)
    module.train()
    with pytest.raises(A2AError, match="compares `query` with `positive`.*at most one, without negatives") as error:
        step(pair)
    assert "trainer.batch_size" in str(error.value)


def test_the_temperature_is_learned_and_held_back():
    module, (outputs, targets) = build(temperature=0.011, learn_temperature=True), drawn(8)
    outputs["positive"] = outputs["query"]  # perfect: the sharper the better
    optimizer = torch.optim.SGD(module.parameters(), 10.0)
    for _ in range(3):
        optimizer.zero_grad()
        judge(module, outputs, targets).backward()
        optimizer.step()
    scale = module.temperature.logit_scale
    scale.data.fill_(9.0)
    judge(module, outputs, targets)
    assert scale.item() == pytest.approx(math.log(100))
    judge(module, *drawn(8)).backward()
    assert scale.grad.abs() > 0  # at the bound it can still turn around
    assert not list(build().parameters())


def test_it_is_computed_in_float32_under_autocast():
    module, (outputs, targets) = build(symmetric=True), drawn(20, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = judge(module, outputs, targets)
    torch.testing.assert_close(found, judge(module, outputs, targets))


def test_rows_that_a_step_needs():
    assert (InfoNce(head="pair").least(), InfoNce(head="pair", in_batch=False).least()) == (2, 1)
    told = EmbeddingHead(positive_key="page")
    assert InfoNce(head="pair").distinct(told) == "page"
    assert InfoNce(head="pair", distinct_positives=False).distinct(told) == ""
    assert InfoNce(head="pair", in_batch=False).distinct(told) == ""


def test_what_does_not_fit_is_an_error():
    with pytest.raises(A2AError, match=r"`infonce` judges a head that embeds queries.*and `heads.pair` is `reference`"):
        build(ReferenceHead())
    with pytest.raises(A2AError, match=r"own negatives, and `heads.pair` reads none"):
        build(EmbeddingHead(), in_batch=False)
    with pytest.raises(ValueError, match="`temperature` 0.005 lies below `min_temperature` 0.01"):
        InfoNce(head="pair", temperature=0.005, learn_temperature=True)
    with pytest.raises(ValueError, match="`in_batch = false` leaves out"):
        InfoNce(head="pair", symmetric=True, in_batch=False)
