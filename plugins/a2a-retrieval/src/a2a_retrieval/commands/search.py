"""`a2a search`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from a2a_core import runs as folders
from a2a_core.errors import printable
from a2a_retrieval.commands.asking import check_query, embedded
from a2a_retrieval.commands.options import device_option, field_option, head_option, run_argument, runs_option
from a2a_retrieval.commands.progress import Progress
from a2a_retrieval.commands.rows import LeftOut, begun, check_file, rows_of

if TYPE_CHECKING:
    from a2a_core.runs import Run
    from a2a_retrieval.corpora import RowCorpus, VectorCorpus
    from a2a_retrieval.embedder import Embedder
    from a2a_retrieval.side_reading import SideReading


@click.command()
@run_argument
@click.argument("corpus", type=click.Path(path_type=Path))
@click.argument("query")
@click.option("-k", "k", type=click.IntRange(min=1), default=10, show_default=True, help="Documents a query.")
@click.option("--rows", type=click.Path(path_type=Path), metavar="FILE", help="The rows behind a file of vectors, to be shown.")
@click.option(
    "--side", type=click.Choice(["query", "positive"]), help="What rows of CORPUS are [default: documents, where they can be]."
)
@field_option
@head_option
@device_option
@runs_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line for each query.")
def search(run: str, corpus: Path, query: str, runs: Path, **options: Any) -> None:
    """Search CORPUS for what answers QUERY, with a trained RUN: every document is compared.

    \b
    a2a search runs/mine corpus.jsonl "What causes rickets?"
    a2a search runs/mine corpus.safetensors --rows corpus.jsonl @cat.jpg -k 3
    a2a search runs/mine corpus.safetensors queries.jsonl --json

    CORPUS is a file of rows, embedded now, or of vectors (`a2a embed`). QUERY is a text, `@FILE` for a picture or another
    medium (where queries are texts: the text in FILE), a .jsonl file of queries, or `-` for one on each line of standard
    input. A corpus of what the run knows as queries is searched with what it knows as documents.
    """
    found = folders.find(run, runs)
    check_query(query)
    for file in (corpus, options["rows"]):
        if file is not None:
            check_file(file)
    with closing(Progress("embedded")) as progress:
        embedder, documents, reading = opened(found, corpus, options, progress)
        asking = embedder.reading("positive" if reading.side == "query" else "query")
        queries = embedded(query, embedder, asking)
        hits = documents.nearest(queries, options["k"])
    left_out = LeftOut()
    left_out.add([*queries.bad.values(), *documents.bad])
    left_out.tell("left out")
    rows = documents.rows({place for places in hits.places.tolist() for place in places})
    if options["rows"] is not None and not rows:
        click.echo(f"note: no row of {options['rows']} has an id of what was found", err=True)
    for number, row in enumerate(queries.rows):
        pairs = list(zip(hits.scores[number].tolist(), hits.places[number].tolist(), strict=True))
        results = [
            {"rank": rank, "score": score, "id": documents.ids[place]} | ({"row": rows[place].fields} if place in rows else {})
            for rank, (score, place) in enumerate(pairs, 1)
        ]
        asked = asking.known(row).fields[asking.field]
        if options["as_json"]:
            click.echo(json.dumps({"query": asked, "id": row.id, "results": results}, ensure_ascii=False, default=str))
            continue
        if len(queries.rows) > 1:
            click.echo(("\n" if number else "") + click.style(beginning(asked, width()), bold=True))
        texts = [reading.known(rows[place]).fields.get(reading.field) if place in rows else "" for _, place in pairs]
        print_results(results, texts)


def opened(
    run: Run, corpus: Path, options: Mapping[str, Any], progress: Progress
) -> tuple[Embedder, VectorCorpus | RowCorpus, SideReading]:
    """The model, what is searched, and how its rows are read; vectors of another model are refused."""
    from a2a_core.inference import open_run
    from a2a_retrieval.corpora import RowCorpus, VectorCorpus
    from a2a_retrieval.embedder import Embedder
    from a2a_retrieval.fingerprint import refuse_other
    from a2a_retrieval.side_reading import side_of
    from a2a_retrieval.vectors import SUFFIXES, open_vectors

    field, device = options["field"], options["device"]
    if corpus.suffix in SUFFIXES:
        vectors = open_vectors(corpus)
        refuse_other(vectors.origin, run, options["head"], str(corpus))
        embedder = Embedder(open_run(run, device=device), vectors.origin.head, vectors.origin.dimension)
        rows = partial(rows_of, options["rows"]) if options["rows"] is not None else None
        return embedder, VectorCorpus(vectors, rows), embedder.reading(vectors.origin.side, field)
    first, _ = begun(rows_of(corpus), str(corpus))
    embedder = Embedder(open_run(run, device=device), options["head"])
    side = options["side"] or ("positive" if field else side_of(first, embedder.readings(), "positive"))
    reading = embedder.reading(side, field)
    return embedder, RowCorpus(embedder, reading, partial(rows_of, corpus), progress), reading


def print_results(results: list[dict[str, Any]], texts: list[Any]) -> None:
    """Rank, score, id, and the beginning of what was found."""
    names = [printable(each["id"]) for each in results]
    longest = max(map(len, names))
    for each, name, text in zip(results, names, texts, strict=True):
        start = f"{each['rank']:>3}  {each['score']:8.4f}  {name:{longest}}  "
        click.echo((start + beginning(text, max(20, width() - len(start)))).rstrip())


def beginning(content: Any, size: int) -> str:
    """So much of it as a line has room for."""
    text = " ".join(printable(str(content)).split())
    return text if len(text) <= size else text[: size - 1] + "…"


def width() -> int:
    """Of the terminal."""
    return shutil.get_terminal_size().columns
