"""Rows out of a corpus, queries and judgements. Texts are memory-mapped; ids and judgements are held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from a2a_core.components import Rows
from a2a_core.errors import A2AError, Problem, suggest
from a2a_core.structures import Row
from a2a_data.jsonl import JsonlSource

FIELDS = ("query", "query_id", "positive", "positive_id", "relevant")
MOST = 5
"""Wrong lines that anyone reads."""


class Judgement(NamedTuple):
    """A line of the qrels."""

    query: str
    document: str
    grade: float
    line: int


class Pick(NamedTuple):
    """Which query and which document a row has, by their numbers; None for none."""

    query: int | None
    document: int | None


class BeirRows:
    """A query with a document that answers it, or a document alone."""

    def __init__(self, corpus: Rows, queries: Rows, relevant: Mapping[int, Mapping[str, float]], picks: list[Pick]) -> None:
        self.corpus, self.queries, self.relevant, self.picks = corpus, queries, relevant, picks

    def __len__(self) -> int:
        return len(self.picks)

    def __getitem__(self, index: int, /) -> Row:
        query, document = self.picks[index]
        fields: dict[str, Any] = {}
        row = None
        if query is not None:
            row = self.queries[query]
            fields |= {"query": text(row), "query_id": row.id, "relevant": dict(self.relevant[query])}
        if document is not None:
            found = self.corpus[document]
            fields |= {"positive": passage(found), "positive_id": found.id}
            row = row or found
        assert row is not None, "a row has a query or a document"
        return row._replace(fields=fields, id=":".join(fields[name] for name in ("query_id", "positive_id") if name in fields))

    def column(self, field: str) -> Iterator[Any]:
        """One field of every row; texts are read for it, ids are not."""
        if field not in FIELDS:
            raise KeyError(f"no row has a field `{field}`; there is {', '.join(FIELDS)}")
        return (self[index].fields.get(field) for index in range(len(self)))


def text(row: Row) -> str:
    """Of a query or document; what is no text is told where the row is read."""
    found: str = row.fields.get("text") or ""
    return found


def passage(row: Row) -> str:
    """Title and text."""
    return f"{row.fields.get('title') or ''} {text(row)}".strip()


def open_rows(corpus: Path, queries: Path, qrels: Path, corpus_rows: bool) -> BeirRows:
    """All files as rows; A2AError for a judgement of what is not there, or none at all."""
    documents, asked = opened(corpus), opened(queries)
    places, numbers = numbered(documents, corpus), numbered(asked, queries)
    judged = list(judgements(qrels))
    refuse_unknown(judged, places, numbers, qrels, corpus, queries)
    relevant: dict[int, dict[str, float]] = {}
    for each in judged:
        if each.grade > 0:
            relevant.setdefault(numbers[each.query], {})[each.document] = each.grade
    if not relevant:
        raise A2AError(f"{qrels} names no document that answers a query", hint="a grade must be above 0")
    if corpus_rows:
        best = {query: places[max(grades, key=lambda name: grades[name])] for query, grades in relevant.items()}
        rest = sorted(set(range(len(documents))) - set(best.values()))
        picks = [Pick(query, best[query]) for query in sorted(best)] + [Pick(None, document) for document in rest]
    else:
        picks = [Pick(query, places[name]) for query in sorted(relevant) for name in relevant[query]]
    return BeirRows(documents, asked, relevant, picks)


def opened(file: Path) -> Rows:
    """A file of objects with `_id`."""
    return JsonlSource(path=file, id="_id").build()


def numbered(rows: Rows, file: Path) -> dict[str, int]:
    """Each id's number."""
    try:
        ids = [str(name) for name in rows.column("_id")]
    except KeyError as error:
        raise A2AError(f"{file}: {error.args[0]}", hint="`_id` names a query, or a document") from None
    return {name: number for number, name in enumerate(ids)}


def judgements(file: Path) -> Iterator[Judgement]:
    """The lines of the qrels, three columns or TREC's four; A2AError for one that is none."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise A2AError(f"cannot read {file}: {error}") from None
    for number, line in enumerate(lines, 1):
        parts = line.split("\t") if "\t" in line else line.split()
        if not parts:
            continue
        query, document, grade = parts if len(parts) == 3 else (parts[0], *parts[2:]) if len(parts) == 4 else ("", "", "")
        try:
            found = float(grade)
        except ValueError:
            if number == 1 and grade:
                continue  # the heading
            hint = "a line is: query, document, grade, by tabs"
            raise A2AError(f"{file.name}:{number} is no judgement: {line[:80]!r}", hint=hint) from None
        yield Judgement(query.strip(), document.strip(), found, number)


def refuse_unknown(
    judged: list[Judgement],
    places: Mapping[str, int],
    numbers: Mapping[str, int],
    qrels: Path,
    corpus: Path,
    queries: Path,
) -> None:
    """A2AError for judgements of queries or documents that are in no file."""
    wrong = []
    for each in judged:
        for what, name, known, file in (("document", each.document, places, corpus), ("query", each.query, numbers, queries)):
            if name not in known:
                text = f"{qrels.name}:{each.line}: there is no {what} `{name}` in {file.name}"
                hint = suggest(name, known) if len(known) < 10_000 else ""
                wrong.append(Problem(text, hint=hint if hint.startswith("did") else ""))
    if wrong:
        more = [Problem(f"and {len(wrong) - MOST} more judgements of what is not there")] if len(wrong) > MOST else []
        raise A2AError([*wrong[:MOST], *more])
