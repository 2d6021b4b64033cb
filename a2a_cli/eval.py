"""`a2a eval`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import click

from a2a_cli.arguments import RunName, batch_size_option, device_option, json_option, runs_option, set_option
from a2a_cli.output import plural, print_json
from a2a_cli.results import summary
from a2a_core import runs as folders
from a2a_core.errors import A2AError, suggest


@click.command("eval")
@click.argument("run", type=RunName())
@click.option("--split", "splits", multiple=True, help="A split of the run's recipe; may be repeated [default: all but train].")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="Where the report goes [default: the run's folder]."
)
@click.option("--data", type=click.Path(path_type=Path), help="Other rows, in the format of the split that is named first.")
@set_option
@batch_size_option
@device_option
@runs_option
@json_option
def eval_(
    run: str,
    splits: tuple[str, ...],
    out: Path | None,
    data: Path | None,
    sets: tuple[str, ...],
    batch_size: int,
    device: str,
    runs: Path,
    as_json: bool,
) -> None:
    """Measure a trained RUN (its folder, its name, or the beginning of its name).

    Writes report.html and report.md: metrics, curves, tables, and for retrieval the best and worst queries.

    \b
    a2a eval digits-20260101-120000
    a2a eval runs/mine --split validation --json
    a2a eval runs/mine --data more.jsonl
    """
    found = folders.find(run, runs)
    from a2a_core.data import media
    from a2a_core.inference import measure, open_run
    from a2a_core.reasons import few
    from a2a_core.report import Split, write_report

    trained = open_run(found, sets, device)
    sources = chosen(trained.loaded.recipe.data, splits, data)
    results: dict[str, dict[str, Any]] = {}
    shown = []
    for split, source in sources.items():
        rows = source.build()
        values, bad, sections, good = measure(trained, split, rows, batch_size)
        results[split] = values
        shown.append(Split(split, values, sections, rows, media(trained.model.parts), len(bad)))
        for row, reason, more in few((each.row, each.reason) for each in bad):
            click.echo(f"note: {row.place} (id {row.id}) is left out: {reason}", err=True)
            if more:
                click.echo(f"note: and {more} more like this", err=True)
        if bad:
            click.echo(f"note: in all {plural(len(bad), 'row')} of `{split}`", err=True)
        if measured_nothing(values):
            fields = ", ".join(f"`{encoder.field or key}`" for key, encoder in trained.model.parts.encoders.items())
            text = f"there is nothing to measure in `{split}`: none of its {good + len(bad)} rows is labelled, and can be read"
            raise A2AError(text, hint=f"the run reads {fields}" if fields else "")
    report = write_report(found, shown, out or found.folder)
    if as_json:
        print_json({"run": found.folder, "results": results, "report": report})
    else:
        click.echo(f"{summary(results)}\n\nreport  {report}")


def measured_nothing(values: Mapping[str, Any]) -> bool:
    """No loss counted a row, and no metric has a value."""
    return "loss" not in values and all(isinstance(value, float) and math.isnan(value) for value in values.values())


def chosen(sources: Any, splits: tuple[str, ...], data: Path | None) -> dict[str, Any]:
    """The sources to measure, by the name under which their results are shown."""
    for split in splits:
        if split not in sources:
            raise A2AError(f"the run's recipe has no split `{split}`", hint=suggest(split, sources))
    names = splits or tuple(split for split in sources if split != "train") or tuple(sources)
    if data is None:
        return {split: sources[split] for split in names}
    source = sources[names[0]]
    if "path" not in attrs.fields_dict(type(source)):
        raise A2AError(f"source `{source.name}` of split `{names[0]}` has no `path` that --data could replace")
    return {str(data): attrs.evolve(source, path=data)}
