from collections.abc import Mapping
from typing import Any

import pytest

from a2a_accelerate.ddp import DdpBackend
from a2a_accelerate.presence import refuse_others, this_rank
from a2a_core import A2AError


def rank(machine: str = "a", number: str = "", **differs: Any) -> Mapping[str, Any]:
    return {"machine": [machine, number], "device": "cuda", "gpu": "", "versions": ["1", "2"], **differs}


def test_what_was_asked_for() -> None:
    refuse_others(DdpBackend(processes=2), [rank(), rank()])
    refuse_others(DdpBackend(), [rank()] * 3)
    refuse_others(DdpBackend(processes=1, nodes=2, rendezvous="a:1"), [rank("a"), rank("b")])
    agents = [rank("a", str(number)) for number in range(2)]  # two agents of one machine count as two
    refuse_others(DdpBackend(processes=1, nodes=2, rendezvous="a:1"), agents)


@pytest.mark.parametrize(
    ("asked", "there", "said"),
    [
        ({"processes": 2}, [rank()] * 3, "`backend.processes` = 2 on each machine, but 3 ranks were started: 3 on a"),
        ({"processes": 2}, [rank("a"), rank("b")], "`backend.nodes` = 1, but ranks were started on 2 machine"),
        ({"nodes": 2, "rendezvous": "a:1"}, [rank()] * 4, "`backend.nodes` = 2, but ranks were started on 1 machine"),
        ({}, [rank(), rank(device="cpu")], "rank 0 has cuda, rank 1 has cpu"),
        ({}, [rank(), rank(versions=["1", "3"])], "ranks differ in `versions`"),
        ({}, [rank(gpu="x"), rank(gpu="y"), rank(gpu="x")], "ranks 0 and 2 were started on one GPU of a"),
    ],
)
def test_what_was_not(asked: dict[str, Any], there: list[Mapping[str, Any]], said: str) -> None:
    with pytest.raises(A2AError, match=said):
        refuse_others(DdpBackend(**asked), there)


def test_what_a_rank_says_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("GROUP_RANK", "7")
    found = this_rank(cpu=True)
    assert found["machine"][1] == "7"
    refuse_others(DdpBackend(processes=1), [found])
