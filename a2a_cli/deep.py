"""`a2a check --deep`, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click

from a2a_cli.output import plural, table
from a2a_core.known import KNOWN
from a2a_core.recipe import Loaded

if TYPE_CHECKING:
    from a2a_core.deep import Report
    from a2a_core.deep.report import Fit, Fitting, Memory, Part, SampleRow

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
WIDEST = 60
"""Characters of a cell."""


def look(loaded: Loaded, samples: int, ranks: int, limit: int | None) -> Report:
    """The check itself; this is where torch is imported."""
    from a2a_core.deep import Ask, check

    return check(loaded, Ask(samples, ranks, limit))


def machine(report: Report) -> dict[str, Any]:
    """All of it but the problems, as plain values."""
    return {name: value for name, value in attrs.asdict(report).items() if name != "problems"}


def render(report: Report) -> Iterator[str]:
    """The report's sections."""
    if report.parts:
        yield section(f"the model, {plural(report.micro_batch, 'row')} at once", parts(report.parts))
        yield "\n".join(totals(report))
    for each in report.batches:
        rows = [row for row in report.samples if row.split == each.split]
        whole = "the stream" if each.rows is None else plural(each.rows, "row")
        yield section(f"the first of {whole} of `{each.split}`", samples(rows))
        yield "\n".join(batch_lines(each.counts, each.padding))
    if report.row_notes:
        yield listing("about the rows", report.row_notes)
    if report.memory:
        yield section("memory of a rank", memory(report.memory))
    if report.fit is not None:
        yield section(f"what fits into {size(report.fit.limit)}", fit(report.fit)) + "\n\n" + advice(report.fit)
    for title, lines in (("could not be found out", report.notes), ("assumed", report.assumptions)):
        if lines:
            yield listing(title, lines)


def listing(title: str, lines: Sequence[str]) -> str:
    """Sentences below their title."""
    return click.style(title, bold=True) + "\n" + "\n".join(f"  - {line}" for line in lines)


def section(title: str, body: str) -> str:
    """A table below its title."""
    return f"{click.style(title, bold=True)}\n\n{body}"


def parts(every: Sequence[Part]) -> str:
    """The tree."""
    headers = ("part", "use", "in", "out", "parameters", "trainable", "group", "FLOPs")
    rows = [
        (
            each.path,
            each.use.partition(":")[2],
            shapes(each.inputs),
            shapes(each.outputs),
            number(each.parameters),
            number(each.trainable),
            ", ".join(group or "all" for group in each.groups) or "-",
            number(each.flops) if each.flops else "-",
        )
        for each in every
    ]
    return table(rows, headers, "  ")


def shapes(every: Mapping[str, Sequence[int]]) -> str:
    """`values 8x4x64`."""
    return clipped(", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in every.items()) or "-")


def clipped(text: str) -> str:
    """No wider than a cell."""
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def totals(report: Report) -> Iterator[str]:
    """Below the tree."""
    share = report.trainable / report.parameters if report.parameters else 0
    yield f"  {number(report.parameters)} parameters, {number(report.trainable)} of them trainable ({share:.1%})"
    for until, several in report.thaws.items():
        when = f"from optimizer step {until} on" if float(until) >= 1 else f"after {float(until):.0%} of all steps"
        yield f"  {number(several)} of these are frozen at first, and trained {when}"
    named = {group: several for group, several in report.groups.items() if group}
    if named:
        yield "  optimizer groups: " + ", ".join(f"`{group}` {number(several)}" for group, several in named.items())
    if report.flops:
        yield f"  {number(report.flops)} FLOPs a step of {plural(report.batch_size, 'row')}"


def samples(rows: Sequence[SampleRow]) -> str:
    """Ids, tokens and what is supervised; a bad row's reason stands in their place."""
    encoders = list(dict.fromkeys(key for row in rows for key in row.tokens))
    cells = [(clipped(row.id), *(str(row.tokens.get(key, "-")) for key in encoders), clipped(supervised(row))) for row in rows]
    return table(cells, ("id", *(f"{key} tokens" for key in encoders), "supervised"), "  ")


def supervised(row: SampleRow) -> str:
    """What the row teaches, by head."""
    if row.error:
        return click.style("bad: ", fg="red") + row.error
    return "; ".join(f"{head}: {text}" for head, text in row.supervised.items()) or "nothing"


def batch_lines(counts: Mapping[str, float], padding: Mapping[str, float]) -> Iterator[str]:
    """Below the samples."""
    if counts:
        yield "  counted: " + ", ".join(f"{term} {several:g}" for term, several in counts.items())
    if padding:
        yield "  padding: " + ", ".join(f"{key} {share:.0%}" for key, share in padding.items())


def memory(every: Sequence[Memory]) -> str:
    """A row a backend."""
    headers = ("backend", "ranks", "rows at once", "weights", "gradients", "optimizer", "activations", "buffers", "peak")
    rows = [
        (
            each.backend + ("" if each.installed else " *"),
            str(each.ranks),
            number(each.rows),
            *map(size, (each.weights, each.gradients, each.optimizer, each.activations, each.buffers, each.peak)),
        )
        for each in every
    ]
    return table(rows, headers, "  ") + footnotes(every)


def fit(found: Fit) -> str:
    """A row a backend."""
    rows = [
        (
            each.backend + ("" if each.installed else " *"),
            str(each.ranks),
            number(each.micro_batch) if each.micro_batch else "none",
            size(each.peak) + ("" if each.micro_batch else " with one row"),
        )
        for each in found.fittings
    ]
    return table(rows, ("backend", "ranks", "rows at once", "peak"), "  ") + footnotes(found.fittings)


def footnotes(every: Sequence[Memory | Fitting]) -> str:
    """What the stars mean: what to install for a backend, or that no plugin known here offers it."""
    from a2a_core.deep.memory import SETTINGS

    lacking: dict[str, list[str]] = {}
    for each in every:
        if not each.installed:
            known = KNOWN.get("backend", {}).get(str(SETTINGS[each.backend]["backend.use"]), "")
            lacking.setdefault(known, []).append(each.backend)
    lines = [
        f"  * not installed: {', '.join(names)} ({f'pip install {dist}' if dist else 'no plugin known here offers them'})"
        for dist, names in lacking.items()
    ]
    return "".join(f"\n{line}" for line in lines)


def advice(found: Fit) -> str:
    """What to set."""
    if not found.settings:
        return f"  {found.advice}"
    told = (f"{name} = {json.dumps(value)}" for name, value in found.settings.items())
    return f"  set {', '.join(told)}"


def number(value: float) -> str:
    """1234567 -> 1.23 M."""
    for unit in ("", " k", " M", " G", " T"):
        if value < 1000:
            return f"{value:.3g}{unit}" if unit else f"{value:g}"
        value /= 1000
    return f"{value:.3g} P"


def size(value: float) -> str:
    """Bytes to three digits."""
    for unit in UNITS[:-1]:
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} {UNITS[-1]}"
