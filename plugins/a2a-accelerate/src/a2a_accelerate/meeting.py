"""Ranks, or the machines that will start them, meet at a store of torch: they see who is there, and agree."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from a2a_core import A2AError, RunFailed
from a2a_core.heartbeat import RankLost, error_of, said

if TYPE_CHECKING:
    from torch.distributed import Store

T = TypeVar("T")
OFTEN = 0.02
"""Seconds between two looks whether others have come."""


class Meeting:
    """So many who came to one store, and which of them this process is. All of them make the same calls in the same order.

    Who comes after they met, in the place of one that is gone, hears what they have agreed on.
    """

    def __init__(self, store: Store, where: str, who: str, mine: int, several: int, timeout: float) -> None:
        self.store, self.where, self.who = store, where, who
        self.mine, self.several, self.timeout = mine, several, timeout
        self.late = mine >= several
        self.calls: Counter[str] = Counter()
        self.memory: Store | None = None
        """A store that outlasts these ranks."""

    def once(self, what: str) -> str:
        """A name for this question that was not used before; the same for all, who ask the same in the same order."""
        self.calls[what] += 1
        return f"{what}.{self.calls[what]}"

    def everyone(self, what: str, card: str) -> list[str]:
        """What each of them says, in order; RankLost names those that did not come."""
        keys = [f"{what}/{number}" for number in range(self.several)]
        until = time.monotonic() + self.timeout
        try:
            self.store.set(keys[self.mine], card)
            while not self.store.check(keys):
                if time.monotonic() > until:
                    raise self.incomplete([number for number, key in enumerate(keys) if not self.store.check([key])])
                time.sleep(OFTEN)
            return [found.decode() for found in self.store.multi_get(keys)]
        except RuntimeError as error:  # torch's own for a connection that broke
            raise self.gone() from error

    def first(self, what: str, choose: Callable[[], Any]) -> str:
        """The first one's answer; of ranks that torchrun started again, the run that was chosen before is theirs."""
        if what != "run" or self.memory is None:
            return json.dumps(outcome(choose))
        if not self.memory.check([what]):
            self.memory.set(what, json.dumps(outcome(choose)))
        return str(self.memory.get(what).decode())

    def incomplete(self, absent: list[int]) -> RankLost:
        """Some did not come in time."""
        came = self.several - len(absent)
        named = ", ".join(map(str, absent[:16])) + (", …" if len(absent) > 16 else "")
        text = f"{came} of {self.several} {self.who}s came to {self.where} within {self.timeout:g} s; waited for: {named}"
        return RankLost(text, hint=f"look at why those did not start, or raise `backend.timeout` = {self.timeout:g}")

    def gone(self) -> RankLost:
        """Whoever holds the store has ended."""
        text = f"the {self.who} at {self.where}, where all meet, is gone"
        return RankLost(text, hint="what it said itself tells why")

    def answer(self, what: str) -> str:
        """What the first of them said."""
        until = time.monotonic() + self.timeout
        try:
            while not self.store.check([what]):
                if time.monotonic() > until:
                    raise self.incomplete([0])
                time.sleep(OFTEN)
            return str(self.store.get(what).decode())
        except RuntimeError as error:
            raise self.gone() from error

    def agree(self, what: str, choose: Callable[[], T], about: str = "") -> T:
        """See BackendConfig.agree."""
        key = self.once(what)
        every = [self.answer(f"{key}/about/0"), about] if self.late else self.everyone(f"{key}/about", about)
        if len(set(every)) > 1:
            named = "; ".join(f"{number} says {said}" for number, said in enumerate(every[:16]))
            text = f"the {self.who}s that meet at {self.where} do not agree on the {what}: {named}"
            raise A2AError(text, hint="all of them need the same recipe, and see the same folder of runs")
        if self.mine == 0:
            try:
                self.store.set(key, self.first(what, choose))
            except BaseException as error:  # whatever it is, nobody is to wait for an answer that does not come
                told = f"the first of the {self.who}s chose no {what}: {str(error) or type(error).__name__}"
                self.store.set(key, json.dumps(said(RunFailed(told))))
                raise
        found: dict[str, Any] = json.loads(self.answer(key))
        with suppress(RunFailed):  # so that the one who holds the store ends after the others have read
            _ = self.late or self.everyone(f"{key}/read", "")
        answer: T = opened(found)
        return answer


def outcome(choose: Callable[[], Any]) -> dict[str, Any]:
    """What it gives, or what is wrong, as JSON."""
    try:
        return {"value": choose()}
    except A2AError as error:
        return said(error)


def opened(found: dict[str, Any]) -> Any:
    """The other way round."""
    if "problems" in found:
        raise error_of(found)
    return found["value"]
