import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_core import A2AError
from a2a_core.data import Collate, Streamed
from a2a_core.flow import Flow, Once
from a2a_core.structures import Batch, Sample

SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(lambda sizes: sum(sizes) > 0)
RANKS = st.sampled_from([1, 2, 4])
GROUPS = st.integers(0, 3)


class Ranks:
    """All ranks of a run, one after another in this process, telling each other what ranks do in every step."""

    def __init__(self, data: Streamed, collate: Any, ranks: int, groups: int = 0, micro: int = 0, tail: Any = "pad") -> None:
        share = 8 // ranks
        rows = micro or share
        self.flows = [
            Flow(data, collate, 8, share // rows, rows, rank, ranks, seed=3, workers=groups, tail=tail) for rank in range(ranks)
        ]
        for flow in self.flows:
            flow.workers = 0  # this process reads the groups of all workers, in their order

    def steps(self) -> Iterator[list[list[Batch]]]:
        """What each rank has in each step of an epoch."""
        for flow in self.flows:
            iter(flow)
        while True:
            step = [flow.take() for flow in self.flows]
            here, more = (sum(flags) for flags in zip(*(flow.flags() for flow in self.flows), strict=True))
            for flow in self.flows:
                flow.judge(here, more, len(ids(step)))
            yield step
            if self.flows[0].over:
                return

    def positions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(json.dumps([flow.position() for flow in self.flows]))
        return found

    def go_on_from(self, positions: list[dict[str, Any]]) -> None:
        for flow in self.flows:
            flow.go_on_from(positions)


def ids(step: list[list[Batch]]) -> list[str]:
    return [name for batches in step for batch in batches for name in batch["ids"]]


def together(samples: Sequence[Sample]) -> Batch:
    return {"inputs": {"size": len(samples)}, "ids": [sample.row.id for sample in samples]}


@pytest.fixture(scope="session")
def ranks(stream: Callable[..., Any]) -> Callable[..., Ranks]:
    def made(sizes: list[int], *given: Any, broken: Any = None, most: int = 10**6, **options: Any) -> Ranks:
        return Ranks(Streamed(stream(*sizes, broken=broken, most=most), {}, {}), Collate(together), *given, **options)

    return made


@given(SIZES, RANKS, GROUPS, st.sampled_from([0, 1, 2]), st.integers(1, 30))
@settings(deadline=None, max_examples=60)
def test_an_epoch_is_every_row_once(ranks: Any, sizes: list[int], several: int, groups: int, micro: int, most: int) -> None:
    run = ranks(sizes, several, groups, micro, most=max(most, several))
    for _ in range(2):
        steps = list(run.steps())
        assert Counter(name for step in steps for name in ids(step)) == {
            f"{shard}/{n}": 1 for shard, size in enumerate(sizes) for n in range(size)
        }
        shapes = {tuple(len(batches) for batches in step) for step in steps}
        assert shapes == {(8 // several // micro if micro else 1,) * several}, "all ranks have as many batches"
        assert all(len(batch["ids"]) <= (micro or 8 // several) for step in steps for batches in step for batch in batches)


@given(SIZES, RANKS, RANKS, GROUPS, st.integers(0, 12))
@settings(deadline=None, max_examples=60)
def test_resumed_anywhere_on_any_ranks_nothing_is_lost_or_repeated(
    ranks: Any, sizes: list[int], before: int, after: int, groups: int, stop: int
) -> None:
    whole = [sorted(ids(step)) for _, step in zip(range(stop + 30), endless(ranks(sizes, before, groups)), strict=False)]
    run = ranks(sizes, before, groups)
    first = [sorted(ids(step)) for _, step in zip(range(stop), endless(run), strict=False)]
    assert first == whole[:stop]
    epochs = run.flows[0].epoch
    resumed = ranks(sizes, after, groups)
    resumed.go_on_from(run.positions())
    rest = [sorted(ids(step)) for _, step in zip(range(30), endless(resumed), strict=False)]
    if before == after:
        assert rest == whole[stop:]
    done = Counter(name for step in first for name in step)
    for _, step in zip(range(100), endless_again(ranks, sizes, after, groups, run.positions()), strict=False):
        done.update(ids(step[0]))
        if step[1] > epochs:
            break
    assert set(done.values()) == {epochs + 1}
    assert len(done) == sum(sizes)


def endless(run: Ranks) -> Iterator[list[list[Batch]]]:
    while True:
        yield from run.steps()


def endless_again(ranks: Any, sizes: list[int], several: int, groups: int, positions: Any) -> Iterator[Any]:
    run = ranks(sizes, several, groups)
    run.go_on_from(positions)
    for step in endless(run):
        yield step, run.flows[0].epoch


@given(st.sampled_from([24, 48]), GROUPS, st.sampled_from([0, 1, 2]))
@settings(deadline=None, max_examples=10)
def test_ranks_and_accumulation_share_the_rows_of_one_big_step(ranks: Any, size: int, groups: int, micro: int) -> None:
    sizes = [size] * 16
    alone = [sorted(ids(step)) for step in ranks(sizes, 1, groups).steps()]
    for several in (2, 4):
        together = [sorted(ids(step)) for step in ranks(sizes, several, groups, micro).steps()]
        assert together == alone, "where lanes are as long as one another, to the end"


@given(st.lists(st.integers(20, 30), min_size=6, max_size=9), RANKS, GROUPS)
@settings(deadline=None, max_examples=20)
def test_drop_gives_full_steps_alone(ranks: Any, sizes: list[int], several: int, groups: int) -> None:
    run = ranks(sizes, several, groups, tail="drop")
    steps = [step for _, step in zip(range(3), run.steps(), strict=False)]
    assert all(len(batch["ids"]) == 8 // several for step in steps for batches in step for batch in batches)


def test_drop_without_a_full_step_is_an_error(ranks: Any) -> None:
    with pytest.raises(A2AError, match="no step that is full") as error:
        next(ranks([3], 2, tail="drop").steps())
    assert 'trainer.tail = "pad"' in str(error.value)


def test_a_stream_without_rows_is_an_error(ranks: Any) -> None:
    with pytest.raises(A2AError, match="epoch 1 of the stream of `train` has no rows"):
        next(ranks([0, 0], 2).steps())


def test_a_stream_that_cannot_be_split_is_refused_by_more_ranks(ranks: Any) -> None:
    assert sum(len(ids(step)) for step in ranks([9], 1, most=1).steps()) == 9
    with pytest.raises(A2AError, match="cannot be read by more than 1 ranks, and there are 2"):
        ranks([9], 2, most=1)


def test_bad_shards_come_beside_the_batch(ranks: Any) -> None:
    steps = list(ranks([4, 4, 4], 2, broken={1: 2}).steps())
    bad = {row.row.place for step in steps for batches in step for batch in batches for row in batch["bad"]}
    assert bad == {"shard-1"}
    assert len({name for step in steps for name in ids(step)}) == 10


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_read_the_same_steps_and_leave_the_global_generator_alone(stream: Callable[..., Any], workers: int) -> None:
    data, collate = Streamed(stream(9, 5, 7, 0, 8), {}, {}), Collate(together)
    before = torch.get_rng_state()
    flow = Flow(data, collate, 8, 2, 4, 0, 1, seed=3, workers=2)
    flow.workers = workers
    found, positions = [], []
    for _ in range(2):
        iter(flow)
        while True:
            found.append([batch["ids"] for batch in flow.take()])
            flow.judge(*flow.flags(), 8)
            positions.append(flow.position())
            if flow.over:
                break
    assert torch.equal(before, torch.get_rng_state())
    again = Flow(data, collate, 8, 2, 4, 0, 1, seed=3, workers=2)
    again.workers = 2 - workers
    again.go_on_from([json.loads(json.dumps(positions[1]))])
    iter(again)
    assert [[batch["ids"] for batch in again.take()] for _ in range(len(found) // 2 - 2)] == found[2 : len(found) // 2]


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_wrong_with_a_lane_is_told_as_it_is(stream: Callable[..., Any], workers: int) -> None:
    flow = Flow(Streamed(stream(9, 9), {}, {}), Collate(together), 8, 1, 8, 0, 1, seed=3)
    iter(flow)
    flow.take()
    flow.judge(*flow.flags(), 8)
    other = Flow(Streamed(stream(9, 9, 9), {}, {}), Collate(together), 8, 1, 8, 0, 1, seed=3, workers=workers)
    other.go_on_from([flow.position()])
    with pytest.raises(A2AError) as error:
        iter(other)
    assert "has 3 shards, and had 2" in str(error.value)
    assert "Traceback" not in str(error.value)


def test_what_is_read_once_comes_in_order(stream: Callable[..., Any]) -> None:
    data = Streamed(stream(3, 4), {}, {})
    batches = list(Once(data, Collate(together), 3))
    assert [batch["ids"] for batch in batches] == [["0/0", "0/1", "0/2"], ["1/0", "1/1", "1/2"], ["1/3"]]
    each = [list(Once(data, Collate(together), 3, rank, 2)) for rank in range(2)]
    names = sorted(name for batches in each for batch in batches for name in batch["ids"])
    assert names == [f"0/{n}" for n in range(3)] + [f"1/{n}" for n in range(4)]
