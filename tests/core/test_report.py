import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from a2a_core import Row
from a2a_core.inference import Lines
from a2a_core.report import Answer, Curve, Held, Note, Question, Ranking, Section, Split, Table, write_report
from a2a_core.report.drawing import ticks
from a2a_core.report.history import curves
from a2a_core.runs import Run
from a2a_core.structures import Medium

ILL = '<script>alert("x")</script> | *a* [b](c)\nnext'
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """What is on a page; every element that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        assert not self.open, "some element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]


def ranking() -> Ranking:
    def held(fields: Any) -> dict[str, str]:
        if "broken" in fields:
            raise ValueError("no id")
        return {"text": fields["name"], "image": fields["file"], "sound": fields["clip"]}

    found = [Answer(Held("image", "a.png"), 0.5, 1.0), Answer(Held("sound", "a.wav"), math.nan, 0.0)]
    return Ranking("The worst queries", "ndcg@10", [Question(Held("text", "one"), 0.25, found, [Held("image", "gone")])], held)


def written(folder: Path, **values: Any) -> tuple[Page, str, str]:
    run = Run(folder / "run")
    run.folder.mkdir()
    run.metrics.write_text('{"step": 1, "split": "train", "loss": 2.0}\n{"step": 2, "split": "train", "loss": 1.0}\n{"ste')
    Image.new("RGB", (900, 300), "red").save(folder / "a.png")
    fields = {"name": "one", "text": ILL, "file": "a.png", "image": "a.png", "clip": "a.wav", "sound": "a.wav"}
    rows = Lines([Row(each, "0", folder, "rows:1") for each in ({"broken": 1}, fields)])
    none: Any = None
    media = {
        "text": Medium("text", False, none, modality="text"),
        "image": Medium("image", True, none, modality="image"),
        "sound": Medium("sound", True, none, modality="audio"),
    }
    given = {"loss": 1.5, "table": [[3, 1], [0, 4]], "table/classes": ["<b>", "dog"]} | values
    sections: list[Section] = [
        Note("2 < 3"),
        Curve("Recall", "k", {"recall": [(1, 0.5), (2, 1.0)]}),
        ranking(),
        Table("Odd", ["a", "b"], [["x", 1.0]]),
    ]
    path = write_report(run, [Split("validation", given, {"retrieval": sections}, rows, media, 1)], folder / "out")
    assert path == folder / "out" / "report.html"
    text, markdown = path.read_text(), path.with_name("report.md").read_text()
    return Page(text), text, markdown


def test_a_page_holds_everything_and_needs_nothing(tmp_path: Path) -> None:
    page, text, _ = written(tmp_path)
    assert not page.all("script")
    assert not re.search(r"https?://", text)
    (picture,) = page.all("img")
    assert str(picture["src"]).startswith("data:image/jpeg;base64,")
    assert [sound["src"] for sound in page.all("audio")] == ["../a.wav"]
    assert [picture["aria-label"] for picture in page.all("svg")] == ["Recall", "loss"]
    assert all(
        math.isfinite(float(number)) for line in page.all("polyline") for number in re.split("[ ,]", str(line["points"]))
    )
    words = " ".join(page.texts)
    assert "<b>" in words
    assert "ndcg@10 0.25" in words
    assert "gone" in words, "what no row holds is shown by its id"
    assert "2 < 3" in words
    assert [cell["style"] for cell in page.all("td") if "style" in cell] == [
        "--share: 75%",
        "--share: 25%",
        "--share: 0%",
        "--share: 100%",
    ]


def test_what_rows_hold_is_no_markup(tmp_path: Path) -> None:
    page, text, markdown = written(tmp_path)
    assert "<script" not in text
    assert "".join(page.texts).count(ILL) == 1
    assert "<script" not in markdown
    assert r"&lt;script&gt;alert(\"x\")&lt;/script&gt; \| \*a\* \[b\](c) next".replace(r"\"", '"') in markdown


def test_markdown_has_the_same_in_tables_and_lists(tmp_path: Path) -> None:
    _, _, markdown = written(tmp_path)
    lines = markdown.splitlines()
    assert "| loss | 1.5 |" in lines
    assert "| &lt;b&gt; | 3 | 1 |" in lines
    assert "| recall | 0.5 (k 1) | 1 (k 2) | 0.5 | 1 |" in lines
    assert "| train | 2 (step 1) | 1 (step 2) | 1 | 2 |" in lines
    assert "1. ✓ ![a.png](<../a.png>) (0.5)" in lines
    assert "2. [a.wav](<../a.wav>) (-)" in lines
    assert "- further down, or not found: gone" in lines
    assert "Rows that could not be read and are left out: 1." in lines


def test_a_picture_that_cannot_be_read_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.Image.Image.convert", lambda *_: (_ for _ in ()).throw(OSError("broken")))
    page, _, _ = written(tmp_path)
    assert not page.all("img")
    assert {"class": "file", "href": "../a.png"} in page.all("a")


def test_pictures_that_rows_hold_themselves_are_shown(tmp_path: Path) -> None:
    """As Parquet files and `datasets` have them."""
    Image.new("RGB", (300, 300), "red").save(tmp_path / "a.png")
    row = Row({"image": (tmp_path / "a.png").read_bytes(), "sound": b"RIFF"}, "0", tmp_path, "rows:1")
    none: Any = None
    media = {"image": Medium("image", True, none, modality="image"), "sound": Medium("sound", True, none, modality="audio")}
    asked: list[int] = []

    def held(fields: Any) -> dict[str, str]:
        asked.append(1)
        return {"image": "i", "sound": "s"}

    question = Question(Held("sound", "s"), 1.0, [Answer(Held("image", "i"), 1.0, 1.0)], [])
    rankings = [Ranking(title, "ndcg@10", [question], held) for title in ("best", "worst")]
    run = Run(tmp_path / "run")
    path = write_report(run, [Split("test", {}, {"retrieval": rankings}, Lines([row]), media)], tmp_path / "out")
    page = Page(path.read_text())
    assert [str(picture["src"])[:22] for picture in page.all("img")] == ["data:image/jpeg;base64"] * 2
    assert not page.all("a")
    assert "audio of 4 bytes" in page.texts
    assert "RIFF" not in path.read_text()
    assert len(asked) == 1, "each row is read once"


def test_history_is_a_curve_a_number_and_a_line_a_split() -> None:
    records: list[dict[str, Any]] = [
        {"step": 1, "split": "train", "loss": 3.0, "samples_per_second": 5.0},
        {"step": 2, "split": "train", "loss": 2.0, "grad_norm": None},
        {"step": 2, "split": "validation", "loss": 2.5, "recall@1": 0.1, "recall@10": 0.2, "table": [[1]], "once": 1.0},
        {"step": 4, "split": "validation", "loss": 2.25, "recall@1": 0.3, "recall@10": 0.4},
    ]
    loss, recall = curves(records)
    assert (loss.title, recall.title) == ("loss", "recall")
    assert loss.lines == {"train": [(1, 3.0), (2, 2.0)], "validation": [(2, 2.5), (4, 2.25)]}
    assert recall.lines == {"validation @1": [(2, 0.1), (4, 0.3)], "validation @10": [(2, 0.2), (4, 0.4)]}


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.001, 0.00102), (-5, 1e6), (3, 3.5)])
def test_axes_have_a_few_round_numbers_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 6
    assert low - 1e-9 <= found[0] < found[-1] <= high * (1 + 1e-9)
