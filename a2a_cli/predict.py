"""`a2a predict`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from a2a_cli.arguments import RunName, batch_size_option, device_option, output_option, runs_option
from a2a_cli.output import jsonable, plural
from a2a_core import runs as folders
from a2a_core.errors import A2AError


@click.command()
@click.argument("run", type=RunName())
@click.argument("rows", type=click.Path(path_type=Path, allow_dash=True), default="-")
@output_option
@click.option("--field", default="predictions", show_default=True, help="The field that predictions are put into.")
@batch_size_option
@device_option
@runs_option
def predict(run: str, rows: Path, output: Path | None, field: str, batch_size: int, device: str, runs: Path) -> None:
    """Predict ROWS, a file of JSON lines (- or nothing: standard input), with a trained RUN.

    \b
    a2a predict digits-20260101-120000 new.jsonl -o answers.jsonl
    echo '{"image": "seven.png"}' | a2a predict runs/mine

    Every row comes out as it went in, in order, with one more field: {"predictions": {<head>: …}}. A row that cannot be read
    has "error" instead; when none can be, the exit code is 1. Media paths are relative to the folder of ROWS. Labels are not
    needed.
    """
    found = folders.find(run, runs)
    if str(rows) != "-" and not rows.is_file():
        raise A2AError(f"there is no file {rows}")
    from a2a_core.inference import open_run, read_lines
    from a2a_core.inference import predict as predicted

    trained = open_run(found, device=device)
    failed = total = 0
    with opened(rows) as lines, sink(output) as file:
        source, root = ("standard input", Path.cwd()) if str(rows) == "-" else (rows.name, rows.resolve().parent)
        for row, prediction in predicted(trained, read_lines(lines, source, root), batch_size):
            failed, total = failed + isinstance(prediction, str), total + 1
            name = "error" if isinstance(prediction, str) else field
            file.write(line(row.fields, name, prediction, row.place))
    if failed:
        click.echo(f'{plural(failed, "row")} could not be read: see "error" there', err=True)
    if failed and failed == total:
        raise SystemExit(1)


def line(fields: Any, name: str, value: Any, place: str) -> str:
    """The row as it came with one more field, as a line of JSON."""
    if name in fields:
        hint = "rename it" if name == "error" else "choose another with --field"
        raise A2AError(f"{place} has a field `{name}` already", hint=hint)
    return json.dumps(jsonable({**fields, name: value}), ensure_ascii=False) + "\n"


@contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """A file, or standard input."""
    if str(path) == "-":
        yield sys.stdin
        return
    with path.open(encoding="utf-8-sig") as file:
        yield file


@contextmanager
def sink(path: Path | None) -> Iterator[IO[str]]:
    """A file that is there only when all of it is, or standard output."""
    if path is None:
        yield sys.stdout
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            yield file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
