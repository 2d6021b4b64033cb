"""Losses see a step's rows whatever micro-batches these came in, and whatever was put beside them to fill tensors up."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from a2a_core.gathering import one_behind_the_other
from a2a_retrieval.colbert import ColBert
from a2a_retrieval.cosent import CoSent
from a2a_retrieval.distillation import Distillation
from a2a_retrieval.examples import examples, many_vectors
from a2a_retrieval.infonce import InfoNce
from a2a_retrieval.margin_mse import MarginMse
from a2a_retrieval.matryoshka import Matryoshka
from a2a_retrieval.pairs import PairTarget
from a2a_retrieval.triplet import Triplet

LOSSES = {
    "triplet": Triplet(head="it", mining="hard", symmetric=True),
    "triplet, euclidean": Triplet(head="it", mining="semi-hard", distance="euclidean"),
    "triplet, given": Triplet(head="it", mining="given", margin="soft"),
    "triplet, all": Triplet(head="it", mining="all", margin=1.0),
    "cosent": CoSent(head="it"),
    "margin-mse": MarginMse(head="it"),
    "distillation": Distillation(head="it"),
    "distillation, a head": Distillation(head="it", teacher="other", temperature=0.3, symmetric=True),
    "distillation, embeddings": Distillation(head="it", teacher="other", match="embeddings"),
    "matryoshka": Matryoshka(head="it", inner=InfoNce(head="it"), dimensions=(3, 8), weights=(0.5, 2)),
}
LATE = {
    "colbert": ColBert(head="it", symmetric=True),
    "colbert, by length": ColBert(head="it", by_length=True, temperature=0.1),
    "triplet": Triplet(head="it", mining="all", margin=1.0),
    "cosent": CoSent(head="it", scale=5.0),
    "margin-mse": MarginMse(head="it"),
    "distillation": Distillation(head="it"),
    "distillation, a head": Distillation(head="it", teacher="other"),
    "matryoshka": Matryoshka(head="it", inner=ColBert(head="it"), dimensions=(3, 8)),
}
CASES = [
    *((examples, name, loss) for name, loss in LOSSES.items()),
    *((many_vectors, name, loss) for name, loss in LATE.items()),
]
SIDES = ("query", "positive", "negative")


def drawn(make, size):
    """Outputs in float64, of a teacher head, too, and targets."""
    head, outputs, targets = make(size)
    outputs = {name: value.double() if value.is_floating_point() else value for name, value in outputs.items()}
    for side in SIDES:
        vectors = outputs[side]
        turned = F.normalize(vectors.flip(0) + 0.5 * vectors, dim=-1)
        outputs |= {f"teacher/{side}": turned, f"teacher/{side}_mask": outputs[f"{side}_mask"]}
    return head, outputs, targets


def filled_up(outputs, targets, slots, tokens):
    """With so many more negatives, and tokens, of which the masks say that they are not there."""
    found = {}
    for prefix in ("", "teacher/"):
        for side in SIDES:
            vectors, mask = outputs[prefix + side], outputs[f"{prefix}{side}_mask"]
            more = [0, tokens] if mask.dim() > 1 + (side == "negative") else []
            more += [0, slots] if side == "negative" else []
            mask = F.pad(mask, more)
            vectors = F.pad(vectors, [0, 0, *more])
            found |= {
                prefix + side: torch.where(mask[..., None], vectors, torch.randn_like(vectors)),
                f"{prefix}{side}_mask": mask,
            }
    return found, targets


def piece(values, rows):
    """Some rows; of their negatives as many as the one with the most has."""
    found = {name: value[rows] for name, value in values.items()}
    if "negative_mask" in values:
        mask = found["negative_mask"]
        most = int(mask.flatten(2).any(-1).any(0).sum()) if mask.dim() > 2 else int(mask.any(0).sum())
        for name in ("negative", "negative_mask"):
            found |= {name: found[name][:, :most], f"teacher/{name}": found[f"teacher/{name}"][:, :most]}
    else:
        most = int((found["negative_id"] != 0).any(0).sum())
        found |= {"negative_id": found["negative_id"][:, :most], "teacher": found["teacher"][:, : 1 + most]}
    return found


def judged(loss, head, outputs, targets):
    """The total, and what it owes to the rows that are there."""
    leaves = {name: value.clone().requires_grad_() for name, value in outputs.items() if value.is_floating_point()}
    (total,) = loss.build(head)(outputs | leaves, targets).values()
    total.backward()
    return total.detach(), [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in map(leaves.get, SIDES)]


@pytest.mark.parametrize(("make", "name", "loss"), CASES, ids=[f"{make.__name__}: {name}" for make, name, _ in CASES])
@settings(max_examples=10, deadline=None)
@given(st.data())
def test_what_is_not_there_changes_nothing(make, name, loss, data):
    head, outputs, targets = drawn(make, data.draw(st.integers(2, 7)))
    total, gradients = judged(loss, head, outputs, targets)
    more = filled_up(outputs, targets, data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2)))
    other, others = judged(loss, head, *more)
    torch.testing.assert_close(other, total)
    for side, wanted, got in zip(SIDES, gradients, others, strict=True):
        mask = more[0][f"{side}_mask"]
        assert not got[~mask].any(), side
        torch.testing.assert_close(got[mask], wanted[outputs[f"{side}_mask"]])


@pytest.mark.parametrize(("make", "name", "loss"), CASES, ids=[f"{make.__name__}: {name}" for make, name, _ in CASES])
@settings(max_examples=10, deadline=None)
@given(st.data())
def test_micro_batches_laid_together_are_the_step(make, name, loss, data):
    head, outputs, targets = drawn(make, size := data.draw(st.integers(2, 7)))
    cuts = sorted(data.draw(st.sets(st.integers(1, size - 1))))
    chunks = [list(range(start, end)) for start, end in zip([0, *cuts], [*cuts, size], strict=True)]
    total, _ = judged(loss, head, outputs, targets)
    together = [one_behind_the_other([piece(values, rows) for rows in chunks]) for values in (outputs, targets)]
    other, _ = judged(loss, head, *together)
    torch.testing.assert_close(other, total)
    module = loss.build(head)
    counts = [module.count(loss.example_inputs(size, rows), piece(targets, rows)).values() for rows in chunks]
    (whole,) = module.count(loss.example_inputs(size, range(size)), targets).values()
    assert sum(int(count) for (count,) in counts) == whole


@pytest.mark.parametrize("loss", [MarginMse(head="it"), Distillation(head="it"), CoSent(head="it")])
def test_batches_without_scores_beside_others_with_some(loss):
    """What a target processor makes of rows without a teacher or a score stays unknown when tensors are filled up."""
    read = PairTarget({"query": ("q",), "positive": ("p",), "negative": ("n",)})
    rows = [{"q": f"q{i}", "p": f"p{i}", "n": ["n", "m"]} for i in range(6)]
    scored = [row | {"teacher_scores": [i, 2.0, 0.5], "score": i} for i, row in enumerate(rows[:3])]
    head, outputs, _ = examples(7)
    outputs = {name: value[:6] for name, value in outputs.items()} | {"negative_mask": torch.ones(6, 2, dtype=torch.bool)}
    some, none = read.pad([read(row) for row in scored]), read.pad([read(row) for row in rows[3:]])
    targets = one_behind_the_other([{name: each[name] for name in ("teacher", "score")} for each in (some, none)])
    alone = {name: value[:3] for name, value in outputs.items()}
    (total,), (wanted,) = (loss.build(head)(*given).values() for given in ((outputs, targets), (alone, some)))
    assert 0 < total < math.inf
    torch.testing.assert_close(total, wanted)
