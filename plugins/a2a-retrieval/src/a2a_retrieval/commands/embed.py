"""`a2a embed`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import click

from a2a_core import runs as folders
from a2a_core.errors import A2AError
from a2a_retrieval.commands.options import (
    batch_size_option,
    batch_tokens_option,
    device_option,
    field_option,
    head_option,
    run_argument,
    runs_option,
    side_option,
)
from a2a_retrieval.commands.progress import Progress
from a2a_retrieval.commands.rows import LeftOut, begun, check_file, rows_of


@click.command()
@run_argument
@click.argument("rows", type=click.Path(path_type=Path, allow_dash=True), default="-")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="A .safetensors, .npy or .parquet file.",
)
@side_option
@field_option
@head_option
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "int8"]),
    default="float32",
    show_default=True,
    help="How numbers are kept; int8 with a scale for each vector.",
)
@click.option("--dimension", type=click.IntRange(min=1), help="Only so many first numbers, of length 1 again (Matryoshka).")
@batch_tokens_option
@batch_size_option
@device_option
@runs_option
def embed(run: str, rows: Path, output: Path, runs: Path, **options: Any) -> None:
    """Embed ROWS, a file of JSON lines (- or nothing: standard input), with a trained RUN.

    \b
    a2a embed medquad-20260101-120000 corpus.jsonl -o corpus.safetensors --dtype float16
    a2a embed runs/mine queries.jsonl --side query --dimension 128 -o queries.npy

    Vectors come in the order of the rows. Ids are kept: `query_id` or `positive_id`, `_id`, `id`, else a row's number. Rows
    that cannot be read are left out, and named. Media paths are relative to the folder of ROWS. The file says of which model
    its vectors are: `a2a search` refuses those of another. A head with a vector a token writes .safetensors.
    """
    found = folders.find(run, runs)
    check_file(rows)
    if options["field"] and not options["side"]:
        raise A2AError("`--field` is read for a side", hint="say which with `--side`")
    from a2a_core.inference import open_run
    from a2a_retrieval.embedder import Embedder
    from a2a_retrieval.fingerprint import Origin, fingerprint
    from a2a_retrieval.side_reading import row_id, side_of
    from a2a_retrieval.vectors_writing import check_path, writing

    check_path(output)
    trained = open_run(found, device=options["device"])
    embedder = Embedder(trained, options["head"], options["dimension"], options["batch_tokens"], options["batch_size"])
    name = "standard input" if str(rows) == "-" else str(rows)
    first, every = begun(rows_of(rows), name)
    side = options["side"] or side_of(first, embedder.readings())
    reading = embedder.reading(side, options["field"])
    origin = Origin(fingerprint(found), found.name, embedder.head, side, embedder.dimension, embedder.normalise)
    origin = origin._replace(dtype=options["dtype"], multi_vector=embedder.late)
    left_out = LeftOut()
    with closing(Progress("embedded")) as progress, writing(output, origin) as writer:
        for block in embedder.embed(every, reading, progress):
            writer.add([row_id(row, side) for row in block.rows], block.vectors, block.lengths)
            left_out.add(block.bad.values())
        if not writer.rows:
            raise left_out.refuse(name)
    left_out.tell("left out")
    kept = f"{writer.rows:,} rows, side {side}, {embedder.dimension} numbers a vector as {options['dtype']}"
    click.echo(f"{output}: {kept}", err=True)
