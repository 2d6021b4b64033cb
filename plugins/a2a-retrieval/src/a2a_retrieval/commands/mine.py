"""`a2a mine`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from a2a_core import runs as folders
from a2a_core.errors import A2AError
from a2a_core.runs import explained
from a2a_retrieval.commands.options import (
    batch_size_option,
    batch_tokens_option,
    device_option,
    head_option,
    run_argument,
    runs_option,
)
from a2a_retrieval.commands.progress import Progress
from a2a_retrieval.commands.rows import LeftOut, check_file, rows_of

if TYPE_CHECKING:
    from a2a_core.inference import Trained
    from a2a_core.structures import Row
    from a2a_retrieval.embedder import Embedder
    from a2a_retrieval.mining import Mined


class Ranks(click.ParamType[tuple[int, int]]):
    """Two ranks, `10:50`."""

    name = "from:to"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """The first, and the one behind the last."""
        if isinstance(value, tuple):
            return value
        start, colon, stop = str(value).partition(":")
        if not colon or not start.isdecimal() or not stop.isdecimal() or int(start) >= int(stop):
            self.fail(f"{value!r} is no range of ranks: `10:50` skips the first ten of fifty", param, ctx)
        return int(start), int(stop)


@click.command()
@run_argument
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="FILE", help="Rows to mine for [default: the run's training rows]."
)
@click.option(
    "--corpus", type=click.Path(path_type=Path), metavar="FILE", help="Rows of documents [default: the positives of all rows]."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", required=True, help="Write to this .jsonl file."
)
@click.option("--negatives", type=click.IntRange(min=1), default=5, show_default=True, help="The most of them a row.")
@click.option(
    "--range",
    "ranks",
    type=Ranks(),
    default="0:100",
    show_default=True,
    help="Ranks to choose from; `10:100` skips the first ten.",
)
@click.option("--margin", type=click.FloatRange(min=0), help="A negative scores so much less than the positive.")
@click.option(
    "--relative-margin",
    type=click.FloatRange(0, 1, min_open=True),
    help="A negative scores at most this share of the positive (0.95: NV-Retriever).",
)
@click.option(
    "--sample",
    type=click.Choice(["top", "random"]),
    default="top",
    show_default=True,
    help="The best of the range, or any of it.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of `--sample random`.")
@click.option("--scores", is_flag=True, help="Add `teacher_scores`, of the positive and each negative: the run as a teacher.")
@click.option("--replace", is_flag=True, help="Replace negatives that rows have already.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "faiss", "torch"]),
    default="auto",
    show_default=True,
    help="What searches; auto: faiss, where it is installed. Both find the same.",
)
@head_option
@batch_tokens_option
@batch_size_option
@device_option
@runs_option
def mine(run: str, output: Path, runs: Path, **options: Any) -> None:
    """Find hard negatives with a trained RUN: for each row the documents that score highest and are not its positive.

    \b
    a2a mine runs/mine -o mined.jsonl --range 10:100 --relative-margin 0.95
    a2a mine runs/mine --data train.jsonl --corpus corpus.jsonl --scores -o mined.jsonl

    Rows come out as they went in, in order, with `negatives` (and `negative_ids`, where documents have ids). What any row says
    answers a query, by id or by content, is no negative of it. Ranks are counted among the documents that are left. Rows
    that get fewer negatives than asked for are counted; rows that cannot be read come out as they went in, and are named.
    """
    found = folders.find(run, runs)
    if output.suffix not in (".jsonl", ".ndjson"):
        raise A2AError(f"{output} would hold JSON lines", hint=f"call it {output.with_suffix('.jsonl').name}")
    for file in (options["data"], options["corpus"]):
        if file is not None:
            check_file(file)
    from a2a_core.inference import open_run
    from a2a_retrieval.embedder import Embedder
    from a2a_retrieval.mining import Rules
    from a2a_retrieval.mining import mine as mined_rows
    from a2a_retrieval.mining_documents import use_faiss

    trained = open_run(found, device=options["device"])
    embedder = Embedder(trained, options["head"], None, options["batch_tokens"], options["batch_size"])
    faiss = use_faiss(options["engine"], embedder.late)
    rows = partial(rows_of, options["data"]) if options["data"] is not None else training_rows(trained)
    corpus = partial(rows_of, options["corpus"]) if options["corpus"] is not None else None
    start, stop = options["ranks"]
    chosen = {name: options[name] for name in ("negatives", "margin", "relative_margin", "sample", "seed")}
    rules = Rules(start=start, stop=stop, **chosen)
    field = negatives_field(embedder)
    left_out, total, fewer, none = LeftOut(), 0, 0, 0
    with closing(Progress("embedded")) as progress, sink(output) as file:
        for row, given in mined_rows(embedder, rows, corpus, rules, faiss, progress):
            total += 1
            if isinstance(given, str):
                left_out.note(row.place, given)
                file.write(line(row, {}, options["replace"]))
                continue
            fewer += len(given.negatives) < rules.negatives
            none += not given.negatives
            file.write(line(row, added(field, given, options["scores"]), options["replace"]))
    left_out.tell("without negatives: they cannot be read")
    click.echo(
        f"{output}: {total - left_out.count:,} rows with negatives mined, searched by {'faiss' if faiss else 'torch'}", err=True
    )
    if fewer:
        click.echo(f"{fewer:,} of them got fewer than {rules.negatives} negatives, {none:,} none", err=True)


def training_rows(trained: Trained) -> Callable[[], Iterable[Row]]:
    """Those of the run's recipe."""
    source = trained.loaded.recipe.data.get("train")
    if source is None:
        raise A2AError("the run's recipe has no [data.train]", hint="name a file with `--data`")
    from a2a_core.streams import all_of

    rows = source.build()
    return lambda: all_of(rows)


def negatives_field(embedder: Embedder) -> str:
    """The field in which the model's rows have negatives."""
    from a2a_core.data import medium

    key = embedder.config.sides().get("negative", "")
    encoders = embedder.trained.model.parts.encoders
    return medium(key, encoders[key]).field if key else "negatives"


def added(field: str, given: Mined, scores: bool) -> dict[str, Any]:
    """What a row gets."""
    found: dict[str, Any] = {field: given.negatives}
    if given.ids is not None:
        found["negative_ids"] = given.ids
    return found | ({"teacher_scores": [given.positive, *given.scores]} if scores else {})


def line(row: Row, fields: Mapping[str, Any], replace: bool) -> str:
    """The row with these fields, as a line of JSON."""
    taken = [name for name in fields if row.fields.get(name) not in (None, [])]
    if taken and not replace:
        raise A2AError(f"{row.place} has `{taken[0]}` already", hint="`--replace` puts those that are mined in their place")
    kept = {name: value for name, value in row.fields.items() if not fields or name not in ("negative_ids", "teacher_scores")}
    try:
        return json.dumps({**kept, **fields}, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise A2AError(f"{row.place} cannot be written as JSON: {error}", hint="mine for rows of texts and of files") from None


@contextmanager
def sink(path: Path) -> Iterator[IO[str]]:
    """A file that is there only when all of it is."""
    partial_ = path.with_name(f".{path.name}.partial")
    if not path.absolute().parent.is_dir():
        raise A2AError(f"there is no folder {path.absolute().parent}")
    with explained(path):
        try:
            with partial_.open("w", encoding="utf-8") as file:
                yield file
            partial_.replace(path)
        finally:
            partial_.unlink(missing_ok=True)
