"""Those who meet are threads here, each with its own connection to the store."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from a2a_accelerate.meeting import Meeting
from a2a_accelerate.stores import facing, held, here, reached
from a2a_core import A2AError, RunFailed
from a2a_core.heartbeat import RankLost

STORE = held("localhost", 0, 10.0)
PLACES = iter(range(1000))


def meet(several: int, act: Callable[[Meeting], Any], timeout: float = 10.0, absent: int = 0) -> list[Any]:
    """What `act` gives each, or the error that it got."""
    from torch.distributed import PrefixStore

    name = str(next(PLACES))

    def one(number: int) -> Any:
        store = PrefixStore(name, reached("localhost", STORE.port, timeout))
        try:
            return act(Meeting(store, "here:1", "rank", number, several, timeout))
        except A2AError as error:
            return error

    with ThreadPoolExecutor(several) as pool:
        return list(pool.map(one, range(several - absent)))


def test_everyone_hears_everyone_in_order() -> None:
    assert meet(3, lambda m: m.everyone("card", f"I am {m.mine}")) == [["I am 0", "I am 1", "I am 2"]] * 3


def test_the_first_ones_choice_is_everybodys() -> None:
    asked: list[int] = []

    def choose(number: int, answer: Any) -> Any:
        asked.append(number)
        return answer

    def act(meeting: Meeting) -> list[Any]:
        return [meeting.agree("run", partial(choose, meeting.mine, answer)) for answer in ("a", {"b": [1]})]

    assert meet(3, act) == [["a", {"b": [1]}]] * 3
    assert asked == [0, 0]


@pytest.mark.parametrize("kind", [A2AError, RunFailed])
def test_so_is_its_mistake(kind: type[A2AError]) -> None:
    def fail() -> None:
        raise kind("there is no such run", hint="look again")

    for found in meet(2, lambda m: m.agree("run", fail)):
        assert type(found) is kind
        assert "look again" in str(found)


def test_nobody_waits_for_a_first_one_that_breaks_off() -> None:
    def fail() -> None:
        raise OSError("the folder is no folder")

    def act(meeting: Meeting) -> Any:
        try:
            return meeting.agree("run", fail)
        except OSError as error:
            return error

    first, *others = meet(3, act)
    assert isinstance(first, OSError)
    for found in others:
        assert isinstance(found, RunFailed)
        assert "the first of the ranks chose no run: the folder is no folder" in str(found)


def test_who_was_given_another_recipe_is_told_so_with_all_others() -> None:
    for found in meet(3, lambda m: m.agree("run", lambda: "chosen", f"recipe {m.mine // 2}")):
        assert "do not agree on the run: 0 says recipe 0; 1 says recipe 0; 2 says recipe 1" in str(found)


def test_who_does_not_come_is_named() -> None:
    for found in meet(4, lambda m: m.everyone("card", ""), timeout=0.5, absent=2):
        assert type(found) is RankLost
        assert "2 of 4 ranks came to here:1 within 0.5 s; waited for: 2, 3" in str(found)


def test_who_comes_late_hears_what_was_agreed_on() -> None:
    store = reached("localhost", STORE.port, 5.0)
    early, late, other = (Meeting(store, "here:1", "machine", number, 1, 5.0) for number in range(3))
    assert early.agree("run", lambda: "old", "recipe a") == "old"
    assert late.agree("run", lambda: "new", "recipe a") == "old"
    with pytest.raises(A2AError, match="0 says recipe a; 1 says recipe b"):
        other.agree("run", lambda: "new", "recipe b")


def test_ranks_that_torchrun_started_again_go_on_with_the_run_they_had() -> None:
    from torch.distributed import PrefixStore

    for attempt, chosen in enumerate(("first", "second")):
        meeting = Meeting(PrefixStore(f"attempt{attempt}", STORE), "here:1", "rank", 0, 1, 5.0)
        meeting.memory = PrefixStore("memory", STORE)
        assert meeting.agree("run", lambda chosen=chosen: chosen) == "first"
        assert meeting.agree("checkpoint", lambda chosen=chosen: chosen) == chosen


def test_a_place_where_nobody_answers() -> None:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        port = taken.getsockname()[1]
        with pytest.raises(RankLost, match=f"nobody answered at localhost:{port} within 0.5 s"):
            reached("localhost", port, 0.5)


def test_a_place_where_something_else_is_silent() -> None:
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        with pytest.raises(RankLost, match=r"within 0.5 s(.|\n)*the port is taken, by something else"):
            reached("localhost", other.getsockname()[1], 0.5)


def test_a_store_that_went_away() -> None:
    mine = held("localhost", 0, 5.0)
    meeting = Meeting(reached("localhost", mine.port, 5.0), "there:1", "rank", 1, 2, 5.0)
    del mine
    with pytest.raises(RankLost, match="the rank at there:1, where all meet, is gone"):
        meeting.everyone("card", "")


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        with pytest.raises(RunFailed, match="ranks cannot meet at localhost"):
            held("localhost", taken.getsockname()[1], 5.0)


def test_which_addresses_are_ours() -> None:
    assert here("localhost")
    assert not here("192.0.2.1")  # kept for documentation (RFC 5737)
    assert not here("nowhere.invalid")
    assert facing("127.0.0.1") == "127.0.0.1"
