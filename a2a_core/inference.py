"""A trained model at work: its parts, its processors, its data, without a trainer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import tomli
import torch

from a2a_core.data import BadRow, Batches, Collate, Streamed, collator, load, prepare
from a2a_core.errors import A2AError
from a2a_core.evaluate import build_metrics, evaluate, moved, refuse_unfit, sections
from a2a_core.flow import Counted, Once
from a2a_core.generation import generate, text_heads
from a2a_core.model import A2AModel
from a2a_core.recipe import load_recipe
from a2a_core.runs import Run
from a2a_core.structures import Row, Sample

if TYPE_CHECKING:
    from a2a_core.components import Rows, SourceConfig
    from a2a_core.recipe import Loaded
    from a2a_core.report import Section
    from a2a_core.streams import Stream


ONE_A_LINE = "rows are JSON lines, one object a line, whatever format the training rows had"
MODEL_TABLES = ("encoders", "projectors", "fusion", "adapters")


class Trained(NamedTuple):
    """A run's recipe and its exported model."""

    loaded: Loaded
    model: A2AModel


def open_run(run: Run, sets: tuple[str, ...] = (), device: str = "auto") -> Trained:
    """Load what a run exported, on the GPU where there is one."""
    if not (run.model / "config.json").is_file():
        raise A2AError(f"run {run.name} has no trained model: it is {run.status}", hint=f"a2a train --resume {run.folder}")
    given = tomli.loads(run.recipe.read_text(encoding="utf-8"))
    saved = [table for table in MODEL_TABLES if table in given]  # the export has them, without the files they named
    loaded = load_recipe(run.recipe, None, sets, saved, environ={})
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    model: A2AModel = A2AModel.from_pretrained(run.model)
    torch.nn.Module.to(model, torch.device(place))
    return Trained(loaded, model.train(False))


def precision(trained: Trained) -> AbstractContextManager[Any]:
    """The arithmetic that the run was trained and evaluated in."""
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(getattr(trained.loaded.recipe.trainer, "precision", ""))
    device = next(trained.model.parameters()).device.type
    return nullcontext() if kind is None else torch.autocast(device, kind)


class Measured(NamedTuple):
    """One split's loss and metrics, the rows that could not be read, and what metrics show besides (see a2a_core.report)."""

    values: dict[str, Any]
    bad: list[BadRow]
    sections: dict[str, Sequence[Section]]
    good: int
    """Rows that could be read."""


def measure(trained: Trained, split: str, rows: Rows | Stream, batch_size: int) -> Measured:
    """Evaluate a split; A2AError where no row of it can be read."""
    loaded, model = trained
    bad: list[BadRow] = []
    collate = collator(loaded.recipe.collator, model.parts)
    data = prepare(rows, model.parts, read=collate.read)
    if isinstance(data, Streamed):
        batches = Counted(Once(data, collate, batch_size))
    else:
        batches = Counted(load(data, collate, Batches(len(data), batch_size)))
    metrics = build_metrics(loaded.recipe.metrics, model.parts.heads)
    refuse_unfit(loaded.recipe.metrics, model)
    values = evaluate(model, batches, metrics, bad.extend, lambda: precision(trained))
    if not batches.rows:
        why = f" can be read: {bad[0].row.place}: {bad[0].reason}" if bad else " is there"
        raise A2AError(f"no row of `{split}`{why}")
    return Measured(values, bad, sections(metrics), batches.rows)


class Lines:
    """Rows out of decoded JSON lines, as a source builds them."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def column(self, field: str) -> Iterable[Any]:
        """One field of every row."""
        return [row.fields.get(field) for row in self.rows]


def read_lines(lines: Iterable[str], source: str, root: Path) -> Iterator[Row]:
    """JSON lines to rows, known by their `id` or `_id`, else by their number."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{source}:{number}"
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise A2AError(f"{place} is not JSON: {error}", hint=ONE_A_LINE) from None
        if not isinstance(fields, dict):
            raise A2AError(f"{place} is no JSON object", hint=ONE_A_LINE)
        yield Row(fields, str(fields.get("id", fields.get("_id", number))), root, place)


def predict(trained: Trained, rows: Iterable[Row], batch_size: int) -> Iterator[tuple[Row, dict[str, Any] | str]]:
    """Each row with its heads' predictions, or with why it could not be read; in order, as many in memory as a batch has."""
    collate = collator(trained.loaded.recipe.collator, trained.model.parts, labelled=False)
    for chunk in batched(rows, batch_size):
        samples = prepared(trained, collate, chunk)
        found = predictions(trained, collate, [sample for sample in samples if isinstance(sample, Sample)])
        for row, sample in zip(chunk, samples, strict=True):
            yield row, sample.reason if isinstance(sample, BadRow) else {key: next(values) for key, values in found.items()}


def write(
    trained: Trained,
    collate: Collate,
    rows: Iterable[Row],
    batch_size: int,
    asked: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    **options: Any,
) -> Iterator[tuple[Row, str | BadRow]]:
    """Each row with the text that follows it, or with why it could not be read.

    `asked` makes the fields of a conversation of a row's, ValueError where it cannot; `options` as in a2a_core.generation.
    """
    for chunk in batched(rows, batch_size):
        samples = prepared(trained, collate, chunk, asked)
        with torch.inference_mode(), precision(trained):
            good = [sample for sample in samples if isinstance(sample, Sample)]
            texts = iter(generate(trained.model, collate, good, **options))
        for row, sample in zip(chunk, samples, strict=True):
            yield row, sample if isinstance(sample, BadRow) else next(texts)


def prepared(
    trained: Trained,
    collate: Collate,
    rows: Sequence[Row],
    asked: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> list[Sample | BadRow]:
    """Rows without labels, processed."""
    source = trained.loaded.recipe.data.get("train")
    known = [as_from(source, row, asked) for row in rows]
    lines = Lines([each.row if isinstance(each, BadRow) else each for each in known])
    data = prepare(lines, trained.model.parts, labelled=False, read=collate.read)
    return [each if isinstance(each, BadRow) else data[index] for index, each in enumerate(known)]


def predictions(trained: Trained, collate: Collate, samples: Sequence[Sample]) -> dict[str, Iterator[Any]]:
    """Each head's, a value a sample; text is generated."""
    model, heads = trained.model, dict[str, Any](trained.model.heads.items())
    writing = text_heads(model.parts)
    found: dict[str, Iterator[Any]] = {}
    with torch.inference_mode(), precision(trained):
        if writing:
            texts = generate(model, collate, samples)
            found = {key: iter(texts) for key in writing}
        if len(writing) < len(heads):
            outputs = model(moved(collate(samples)["inputs"], next(model.parameters()).device)).outputs
            found |= {key: iter(heads[key].predict(values)) for key, values in outputs.items() if key not in writing}
    return {key: found[key] for key in heads}


def as_from(source: SourceConfig | None, row: Row, asked: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Row | BadRow:
    """A row as the source would give it that the model was trained on."""
    named = renamed(row, getattr(source, "columns", {}))
    try:
        fields = asked(named.fields)
        return named._replace(fields=fields if source is None else source.canonical(fields))
    except ValueError as error:
        return BadRow(row, str(error))


def renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """A row as the training source would give it; the caller's keeps its fields as they came."""
    given = {field: row.fields[column] for field, column in columns.items() if column in row.fields}
    return row._replace(fields={**row.fields, **given}) if given else row


def batched(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """So many at a time."""
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
