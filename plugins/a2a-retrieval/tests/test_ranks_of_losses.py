"""Losses over whole steps: two ranks give the total and the gradients of one that has all rows, however these are dealt out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from a2a_core.gathering import laid_together

RANK = Path(__file__).with_name("rank_of_losses.py")
LOSSES = {  # use, options, head, the most negatives of a row
    "infonce": ["infonce", {"symmetric": True, "learn_temperature": True}, "embedding", 2],
    "infonce without negatives": ["infonce", {"symmetric": True}, "embedding", 0],
    "infonce among its own": ["infonce", {"in_batch": False}, "embedding", 2],
    "infonce of many vectors": ["infonce", {"symmetric": True, "temperature": 1.0}, "multi-vector", 2],
    "siglip": ["siglip", {}, "embedding", 2],
    "colbert": ["colbert", {"symmetric": True, "learn_temperature": True, "by_length": True}, "multi-vector", 2],
    "cosent": ["cosent", {}, "embedding", 0],
    "cosent of many vectors": ["cosent", {}, "multi-vector", 0],
    "triplet, hard": ["triplet", {"symmetric": True, "margin": 1.0}, "embedding", 2],
    "triplet, all": ["triplet", {"mining": "all", "margin": "soft", "distance": "euclidean"}, "embedding", 2],
    "triplet, semi-hard": ["triplet", {"mining": "semi-hard", "margin": 1.0}, "multi-vector", 2],
    "triplet, given": ["triplet", {"mining": "given", "margin": 1.0}, "embedding", 2],
    "margin-mse": ["margin-mse", {}, "embedding", 2],
    "distillation": ["distillation", {}, "multi-vector", 2],
    "distillation, scores": ["distillation", {"teacher": "other", "symmetric": True}, "embedding", 2],
    "distillation, embeddings": ["distillation", {"teacher": "other", "match": "embeddings"}, "embedding", 2],
    "matryoshka": [
        "matryoshka",
        {"inner": {"use": "infonce", "head": "pair", "learn_temperature": True}, "dimensions": [3, 6], "weights": [0.5, 2.0]},
        "embedding",
        2,
    ],
}
CASES = {
    "even": [[0, 1, 2, 3], [4, 5, 6, 7]],
    "uneven": [[0, 1, 2, 4, 5, 6, 7], [3]],
    "a rank without pairs": [[2], [0, 1, 3, 4, 5]],
}


def run(folder, cases):
    """What each rank found, by case and loss."""
    world = len(cases[0])
    out = folder / str(world)
    command = [sys.executable, str(RANK), str(out), str(folder / "store")]
    given = json.dumps(LOSSES), json.dumps(cases)
    ranks = [subprocess.Popen([*command, str(rank), str(world), *given]) for rank in range(world)]
    assert [process.wait(120) for process in ranks] == [0] * world
    return [dict(zip(CASES, torch.load(out.with_suffix(f".{rank}")), strict=True)) for rank in range(world)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Every case on two ranks, and on one."""
    folder = tmp_path_factory.mktemp("ranks")
    return run(folder, list(CASES.values())), *run(folder, [[one + other] for one, other in CASES.values()])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("loss", LOSSES)
def test_two_ranks_are_one(found, loss, case):
    apart, whole = [rank[case][loss] for rank in found[0]], found[1][case][loss]
    assert whole["total"] > 0
    assert any(gradient.any() for gradient in whole["rows"])
    for rank in apart:
        torch.testing.assert_close(rank["total"], whole["total"])
        torch.testing.assert_close(rank["learned"], whole["learned"])
    together = [laid_together(parts) for parts in zip(*(rank["rows"] for rank in apart), strict=True)]
    torch.testing.assert_close(together, whole["rows"])
