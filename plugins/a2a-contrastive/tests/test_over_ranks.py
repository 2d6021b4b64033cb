"""Two ranks give the loss and the gradients of one that has the whole batch, however the rows are dealt out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RANK = Path(__file__).with_name("rank.py")
ALL = list(range(12))
CASES = {
    "even": [ALL[:6], ALL[6:]],
    "uneven": [ALL[:9], ALL[9:]],
    "a rank without pairs": [[1, *ALL[3:]], [0, 2]],
    "one pair each": [[1, 2], [0, 4, 5]],
}


def run(folder, cases):
    world = len(cases[0])
    out = folder / f"{world}.json"
    command = [sys.executable, str(RANK), str(out), str(folder / "store")]
    ranks = [subprocess.Popen([*command, str(rank), str(world), json.dumps(cases)]) for rank in range(world)]
    assert [process.wait(120) for process in ranks] == [0] * world
    return dict(zip(CASES, json.loads(out.read_text()), strict=True))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Every case on two ranks, and on one."""
    folder = tmp_path_factory.mktemp("ranks")
    return run(folder, list(CASES.values())), run(folder, [[sorted(one + other)] for one, other in CASES.values()])


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_are_one(found, case):
    apart, whole = (results[case] for results in found)
    assert apart["count"] == whole["count"] > 1
    assert apart["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert whole["loss"] > 0
    for name, gradient in whole["gradients"].items():
        assert any(gradient), name
        assert apart["gradients"][name] == pytest.approx(gradient, rel=1e-5, abs=1e-6), name
