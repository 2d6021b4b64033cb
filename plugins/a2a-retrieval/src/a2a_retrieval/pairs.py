"""What a row says of its query and its documents: ids, scores and judgements, as the targets of heads that embed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 64
"""Bytes of a content that names itself; of a longer one the first of them, and a digest."""


class Pair(NamedTuple):
    """A row's target; empty where the row has no such thing."""

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    score: float | None = None
    teacher: tuple[float, ...] = ()
    relevant: Mapping[str, float] = {}


class PairTarget:
    """Rows of `query`, `positive` and `negatives`, whatever fields hold them: which ids these have, and how they are judged.

    `fields` names, for each side, the field with its content, and those that bound a segment of it. What is identified is
    named by `query_id`, `positive_id` and `negative_ids`; else the content (a text, a file's path) is its own id, so that what
    occurs twice is recognised. A row without a query (null, or no such field) is a document of a corpus, one with `relevant`
    and without a positive a query to be evaluated; without both there is no target.

    - `query_id`, `positive_id` (B,), `negative_id` (B, S) int64: a hash of each id, 0 where there is none;
    - `query_name`, `positive_name` (B, L) uint8: the ids themselves in UTF-8, zeros behind;
    - `score` (B,) float32: of the pair, NaN without; `teacher` (B, 1 + S): of positive and negatives, NaN without;
    - `relevant` (B, R) int64 and `relevance` (B, R) float32: what answers the query, and how well; 0 where there is none. The
      row's own positive does with 1, unless `relevant` grades it.
    """

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self.fields = {side: tuple(names) for side, names in fields.items()}

    def __call__(self, fields: Mapping[str, Any]) -> Pair | None:
        """ValueError for what is empty or missing, a negative that is the positive, scores that are no numbers, or too few."""
        query, positive = self.one(fields, "query"), self.one(fields, "positive")
        relevant = judgements(fields.get("relevant"))
        if query and not positive and not relevant:
            field = self.fields["positive"][0]
            raise ValueError(f"a query without a positive: `{field}` is missing, and there is no `relevant` to evaluate it by")
        if not query and not positive:
            return None
        found = self.held(fields, "negative") if "negative" in self.fields else ()
        negatives = identified_negatives(fields.get("negative_ids"), found)
        if query and positive:
            self.refuse_equal(fields, positive, negatives, found)
            relevant = {positive: 1.0} | relevant
        return Pair(query, positive, negatives, number("score", fields.get("score")), self.scores(fields, negatives), relevant)

    def one(self, fields: Mapping[str, Any], side: str) -> str:
        """The id of a query or positive, empty where the row has none."""
        found = self.held(fields, side)
        if len(found) > 1:
            raise ValueError(f"`{self.fields[side][0]}` holds {len(found)}: a row has one {side}")
        given = fields.get(f"{side}_id")
        return "" if not found else found[0] if given is None else identified(f"{side}_id", given)

    def held(self, fields: Mapping[str, Any], side: str) -> tuple[str, ...]:
        """What stands in a side's field: each content's own id."""
        field, *bounds = self.fields[side]
        raw = fields.get(field)
        if isinstance(raw, (list, tuple)) and all(each is None or isinstance(each, (str, bytes)) for each in raw):
            several = [each for each in raw if each is not None]
        else:
            several = [] if raw is None else [raw]
        segment = "".join(f" @{fields[name]}" for name in bounds if fields.get(name) is not None)
        return tuple(content(field, each) + segment for each in several)

    def refuse_equal(self, fields: Mapping[str, Any], positive: str, negatives: Sequence[str], found: Sequence[str]) -> None:
        """ValueError where a negative is the positive, by its id or by what it holds."""
        (held,) = self.held(fields, "positive")
        for place, (name, same) in enumerate(zip(negatives, found, strict=True)):
            if name == positive or same == held:
                raise ValueError(f"negative {place + 1} is equal to its positive: {short(fields[self.fields['positive'][0]])}")

    def scores(self, fields: Mapping[str, Any], negatives: Sequence[str]) -> tuple[float, ...]:
        """The teacher's; of a head that reads no negatives, that of the positive."""
        given = fields.get("teacher_scores")
        if given is None:
            return ()
        if not isinstance(given, (list, tuple)) or not given:
            raise ValueError(f"`teacher_scores`: expected a list of numbers, got {short(given)}")
        found = [number("teacher_scores", each) for each in given]
        if None in found:
            raise ValueError("`teacher_scores` has an empty place")
        if "negative" not in self.fields:
            found = found[:1]
        elif len(found) != 1 + len(negatives):
            raise ValueError(
                f"`teacher_scores` has {len(found)} numbers, and there are 1 positive and {len(negatives)} negatives to score"
            )
        return tuple(each for each in found if each is not None)

    def pad(self, targets: Sequence[Pair | None]) -> dict[str, Tensor]:
        """Zeros for what is not there, NaN for scores."""
        import torch

        pairs = [Pair("", "") if target is None else target for target in targets]
        scores = [math.nan if pair.score is None else pair.score for pair in pairs]
        return {
            "query_id": torch.tensor([hashed(pair.query) for pair in pairs]),
            "positive_id": torch.tensor([hashed(pair.positive) for pair in pairs]),
            "negative_id": filled([[hashed(name) for name in pair.negatives] for pair in pairs], 0),
            "query_name": filled([list(pair.query.encode(errors="replace")) for pair in pairs], 0).to(torch.uint8),
            "positive_name": filled([list(pair.positive.encode(errors="replace")) for pair in pairs], 0).to(torch.uint8),
            "score": torch.tensor(scores, dtype=torch.float32),
            "teacher": filled([pair.teacher or (math.nan,) for pair in pairs], math.nan),  # one at least: zeros fill up
            "relevant": filled([[hashed(name) for name in pair.relevant] for pair in pairs], 0),
            "relevance": filled([list(pair.relevant.values()) for pair in pairs], 0.0),
        }


def filled(rows: Sequence[Sequence[Any]], empty: float) -> Tensor:
    """Lists as one tensor (B, the longest); int64, or float32 where `empty` is a float."""
    import torch

    most = max(map(len, rows))
    dtype = torch.float32 if isinstance(empty, float) else torch.int64
    return torch.tensor([[*row, *[empty] * (most - len(row))] for row in rows], dtype=dtype).view(len(rows), most)


def content(field: str, raw: Any) -> str:
    """What names a content that has no id: itself if it is short; ValueError for an empty one."""
    if isinstance(raw, str):
        held = raw.encode(errors="surrogatepass")
        if not raw.strip():
            raise ValueError(f"`{field}` is empty")
    elif isinstance(raw, bytes) and raw:
        held = raw
    elif isinstance(raw, (list, tuple)) and raw:
        held = repr(raw).encode()
    else:
        raise ValueError(f"`{field}`: expected a text, a file or a list of numbers, got {short(raw)}")
    if isinstance(raw, str) and len(held) <= SHOWN:
        return raw
    start = raw.encode(errors="replace")[:SHOWN].decode(errors="ignore") if isinstance(raw, str) else ""
    return f"{start}#{digest(held).hex()}"


def identified(field: str, raw: Any) -> str:
    """An id as text: text, or a whole number."""
    if isinstance(raw, bool) or not isinstance(raw, (str, int)) or raw == "":
        raise ValueError(f"`{field}`: an id is a text or a whole number, got {short(raw)}")
    return str(raw)


def identified_negatives(given: Any, found: Sequence[str]) -> tuple[str, ...]:
    """Their ids; without any, the contents' own."""
    if given is None or not found:
        return tuple(found)
    given = given if isinstance(given, (list, tuple)) else [given]
    if len(given) != len(found):
        raise ValueError(f"`negative_ids` has {len(given)} ids, and there are {len(found)} negatives")
    return tuple(identified("negative_ids", each) for each in given)


def judgements(raw: Any) -> dict[str, float]:
    """`relevant`, a list of ids, or a table of their grades (as pairs, too): each id's grade."""
    if raw is None:
        return {}
    listed = raw.items() if isinstance(raw, Mapping) else raw if isinstance(raw, (list, tuple)) else [raw]
    pairs = [each if isinstance(each, (list, tuple)) and len(each) == 2 else (each, 1.0) for each in listed]
    grades = {identified("relevant", name): number("relevant", grade) for name, grade in pairs}
    return {name: grade for name, grade in grades.items() if grade is not None}


def number(field: str, raw: Any) -> float | None:
    """A finite number, None where there is none."""
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not math.isfinite(raw):
        raise ValueError(f"`{field}`: expected a finite number, got {short(raw)}")
    return float(raw)


def hashed(name: str) -> int:
    """64 bits of an id, never 0; 0 for none."""
    if not name:
        return 0
    return int.from_bytes(digest(name.encode(errors="surrogatepass")), "big", signed=True) or 1


def digest(held: bytes) -> bytes:
    """Eight bytes for any number of them."""
    from hashlib import blake2b  # 10 ms, which a check of recipes can do without

    return blake2b(held, digest_size=8).digest()


def short(raw: Any) -> str:
    """A value as messages show it."""
    shown = repr(raw)
    return shown if len(shown) <= 100 else f"{shown[:100]}…"
