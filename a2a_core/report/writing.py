"""The pages themselves."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2
from markupsafe import Markup

from a2a_core.report.contents import Content, contents
from a2a_core.report.drawing import draw, finite, style
from a2a_core.report.history import curves
from a2a_core.report.sections import Held, Ranking, Section, Table
from a2a_core.runs import Run, explained, now, parsed, write

if TYPE_CHECKING:
    from a2a_core.components import Rows
    from a2a_core.streams import Stream
    from a2a_core.structures import Medium


class Split(NamedTuple):
    """One that was evaluated: its numbers, what metrics show besides, and the rows and media to show examples of."""

    name: str
    values: Mapping[str, Any]
    sections: Mapping[str, Sequence[Section]]
    """By metric."""
    rows: Rows | Stream
    media: Mapping[str, Medium]
    left_out: int = 0


def write_report(run: Run, splits: Sequence[Split], folder: Path) -> Path:
    """Write `report.html` and `report.md` into a folder; where the first lies."""
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    shown = {}
    for split in splits:
        rankings = [each for sections in split.sections.values() for each in sections if isinstance(each, Ranking)]
        shown[split.name] = contents(rankings, split.rows, split.media, folder)
    page = {
        "name": run.name,
        "made": now(),
        "metrics": overview(splits),
        "splits": [(split, groups(split), shown[split.name]) for split in splits],
        "history": curves(history(run)),
    }
    for name in ("report.html", "report.md"):
        write(folder / name, environment(name).get_template(f"{name}.jinja").render(page))
    return folder / "report.html"


def environment(name: str) -> jinja2.Environment:
    """Everything that is not the page's own is escaped, in either format."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=None if name.endswith(".html") else plain,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {"draw": draw, "number": number, "kind": kind, "finite": finite}
    found.filters |= filters
    found.globals |= {"style": style, "content": content, "heat": heat}
    return found


def overview(splits: Sequence[Split]) -> Table:
    """Numbers down, splits across."""
    names = dict.fromkeys(name for split in splits for name, value in split.values.items() if isinstance(value, int | float))
    rows = [[name, *(split.values.get(name, "-") for split in splits)] for name in names]
    return Table("Metrics", ["metric", *(split.name for split in splits)], rows)


def groups(split: Split) -> list[tuple[str, Sequence[Section]]]:
    """What is shown of a split: the tables among its results; then what each metric adds, under its name."""
    found = [("", list(tables(split.values))), *split.sections.items()]
    return [(name, sections) for name, sections in found if sections]


def tables(values: Mapping[str, Any]) -> Iterator[Table]:
    """Results that are lists of rows; of a square one, with `<name>/classes` beside it, what was taken for what."""
    for name, value in values.items():
        if not (isinstance(value, list) and value and all(isinstance(row, list) for row in value)):
            continue
        classes = values.get(f"{name}/classes")
        if isinstance(classes, list) and len(classes) == len(value):
            rows = [[str(label), *row] for label, row in zip(classes, value, strict=True)]
            yield Table(f"{name}: labels down, predictions across", ["", *map(str, classes)], rows, heat=True)
        else:
            yield Table(name, [], value)


def history(run: Run) -> list[dict[str, Any]]:
    """What was recorded while it was trained."""
    lines = run.metrics.read_text(encoding="utf-8").splitlines() if run.metrics.is_file() else []
    return [record for line in lines if (record := parsed(line))]


def content(shown: Mapping[Held, Content], held: Held) -> Content:
    """What is held; by its id alone where no row says more."""
    return shown.get(held) or Content("text", held.id)


def kind(section: Section) -> str:
    """How a template knows what it is."""
    return type(section).__name__


def heat(table: Table, row: Sequence[str | float], cell: Any) -> float | None:
    """How dark a cell is, 0 to 1: its share of the row; None where it is no number, or the table is not of that kind."""
    numbers = [each for each in row if isinstance(each, int | float)]
    most = sum(numbers)
    return cell / most if table.heat and isinstance(cell, int | float) and most > 0 else None


def number(value: Any) -> str:
    """To four digits; anything else as it is."""
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def plain(value: Any) -> Any:
    """Data in Markdown, on one line: nothing in it is markup."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    escaped = re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", html.escape(" ".join(value.split()), quote=False))
    return Markup(escaped)  # markup of the other format is escaped in it, too
