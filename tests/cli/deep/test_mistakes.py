"""What `a2a check --deep` refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

MISTAKES = {
    "a field that no row has": (("heads.mood.field=lable",), "no row of train.csv has a field `lable`"),
    "an encoder's field that no row has": (("encoders.text.field=txt",), "reads field `txt`"),
    "labels that are no class": (('heads.mood.classes=["glad","mad"]',), "the label `sad` is none of the 2 classes"),
    "a loss that does not fit its head": (("losses.mood={use='mse',head='mood'}",), "[losses.mood]"),
    "a metric that does not fit its head": (("metrics.accuracy={use='mae',head='mood'}",), "[metrics.accuracy]"),
    "everything frozen": (("adapters=[{use='stone'}]",), "every parameter is frozen"),
    "a group that matches nothing": (("trainer.groups=[{match='*'},{match='encoder.*'}]",), "group `encoder.*`"),
    "parameters in two groups": (("trainer.groups=[{match='*'},{match='fusion.*'}]",), "matches `*` and `fusion.*`"),
    "rows that do not divide": (("trainer.micro_batch=3",), "does not divide by `trainer.micro_batch` = 3"),
    "a part that cannot compute again": (("trainer.gradient_checkpointing=true",), "no part of this model can"),
    "a head without a loss": (('heads.size={use="regress",field="size"}',), "receive no gradient: heads.size"),
    "an item's length that is no length": (("encoders.text.use=strange", "encoders.text.extra=2"), "the encoder emits"),
    "an optimizer that is not there": (("trainer.optimizer=adamw_torch_4bit",), "optimizer `adamw_torch_4bit`"),
}


@pytest.mark.usefixtures("strange")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_of_meaning_is_found(deep: Any, name: str) -> None:
    sets, message = MISTAKES[name]
    found = deep(*(each.replace("heads.size", "heads.weight") for each in sets))
    assert not found["ok"]
    assert message.replace("heads.size", "heads.weight") in "\n".join(each["message"] for each in found["problems"])


def line(start: str) -> str:
    """Where the recipe has such a line."""
    lines = Path("recipe.toml").read_text().splitlines()
    return f"recipe.toml:{next(place for place, each in enumerate(lines, 1) if each.startswith(start))}"


def test_mistakes_are_told_all_at_once_with_their_lines(folder: Path, run: Callable[..., Result]) -> None:
    text = Path("recipe.toml").read_text()
    Path("recipe.toml").write_text(
        text.replace('"cross-entropy"', '"mse"').replace('"accuracy"', '"mae"').replace("micro_batch = 4", "micro_batch = 3")
    )
    Path("validation.csv").write_text("text,label,size\nfine,glaad,1\n")
    result = run("check", "--deep", "recipe.toml")
    assert result.exit_code == 2
    for message in (
        "[losses.mood]",
        "[metrics.accuracy]",
        "does not divide",
        "`glaad`",
        line('use = "mse"'),
        line('use = "mae"'),
    ):
        assert message in result.stderr
    assert "encoders.text" in result.stdout, "what could be found out is shown"
    assert "Traceback" not in result.output


def test_bad_rows_are_shown_with_their_reason(folder: Path, deep: Any) -> None:
    rows = Path("train.csv").read_text()
    Path("train.csv").write_text(rows.replace("bad,sad,2", ",sad,2", 1).replace("bad,sad,2", "bad,sade,2", 1))
    found = deep('heads.mood.classes=["glad","sad"]', "bad_rows=0.1")
    assert found["ok"]
    rows = [row for row in found["deep"]["samples"] if row["split"] == "train"]
    assert rows[1]["tokens"] == {"text": 0}, "a modality may be missing"
    assert "did you mean `sad`?" in rows[3]["error"]
    assert found["deep"]["batches"][0]["counts"] == {"mood/cross_entropy": 7}
    worse = deep('heads.mood.classes=["glad","sad"]', "bad_rows=0.0")
    assert "train.csv:5" in worse["problems"][0]["message"]


def test_rows_that_supervise_nothing_are_a_mistake(folder: Path, deep: Any) -> None:
    rows = Path("train.csv").read_text()
    Path("train.csv").write_text(rows.replace("glad", "").replace("sad", ""))
    found = deep('heads.mood.classes=["glad","sad"]')
    assert "none of the first 40 training rows has a target" in found["problems"][0]["message"]


@pytest.mark.usefixtures("strange")
def test_nothing_to_train_is_said_once(deep: Any) -> None:
    found = deep("adapters=[{use='stone'}]")
    assert [each["message"] for each in found["problems"]] == ["every parameter is frozen: there is nothing to train"]
    assert found["deep"]["memory"] == []


ADAPTERS = """
[[adapters]]
use = "freeze"
match = ["embeddings.*"]
[[adapters]]
use = "freeze"
match = [
    "encoders.text.layrs.*",
    "heads.*",
    "wieght",
]
"""


def test_an_adapters_mistake_has_its_line_and_what_was_meant(folder: Path, run: Callable[..., Result], deep: Any) -> None:
    with Path("recipe.toml").open("a") as file:
        file.write(ADAPTERS)
    told = run("check", "--deep", "recipe.toml").stderr
    for where, pattern, meant in (
        (line('    "enc'), "encoders.text.layrs.*", "encoders.text.layers.*"),
        (line('    "wieght'), "wieght", "weight"),
    ):
        assert f"[[adapters]] the pattern `{pattern}` fits no parameter" in told
        assert where in told
        assert f"did you mean `{meant}`?" in told
    found = deep()["deep"]["parts"]
    assert 0 < found[0]["trainable"] < found[0]["parameters"], "the first adapter is applied"
