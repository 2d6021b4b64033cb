from typing import Any

import pytest

from a2a_core import RunFailed, ranks


class Unusable(Exception):  # noqa: N818 - what ranks say alike
    pass


def fails(error: Exception) -> Any:
    def action() -> None:
        raise error

    return action


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the other rank, the second, says."""
    others: list[Any] = []
    monkeypatch.setattr(ranks, "gathered", lambda value: [value, *others])
    return others


def test_alone_a_rank_says_what_it_finds() -> None:
    assert ranks.agreed(lambda: 7) == 7
    with pytest.raises(ValueError, match="wrong"):
        ranks.agreed(fails(ValueError("wrong")))
    with pytest.raises(Unusable, match="in vain"):
        ranks.agreed(fails(Unusable("in vain")), Unusable)


def test_what_one_rank_cannot_do_none_does(told: list[Any]) -> None:
    told.append(Unusable("no room"))
    with pytest.raises(Unusable, match="no room"):
        ranks.agreed(lambda: 7, Unusable)


def test_where_another_rank_fails_none_waits_for_it(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    told.append("IndexError: out of range")
    with pytest.raises(RunFailed, match=r"rank 1 failed: IndexError: out of range"):
        ranks.agreed(lambda: 7)
    with pytest.raises(RunFailed, match="rank 1 failed"):
        ranks.agreed(fails(Unusable("in vain")), Unusable)


def test_a_rank_that_fails_says_so_before_it_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    monkeypatch.setattr(ranks, "gathered", lambda value: said.append(value) or [value, None])
    with pytest.raises(ZeroDivisionError):
        ranks.agreed(fails(ZeroDivisionError("division")))
    assert said == ["ZeroDivisionError: division"]
