import json
from pathlib import Path

import pytest

BROKEN = """\
[encoders.picture]
use = "eye"
widht = 32

[heads.digit]
use = "gess"
"""


def test_a_good_recipe_is_fine(recipe: Path, run) -> None:
    result = run("check", recipe)
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert lines[0] == ["recipe.toml", "is", "fine"]
    assert ["data.train", "acme-parts:lines"] in lines
    assert ["encoders.picture", "acme-parts:eye"] in lines
    assert ["fusion", "acme-parts:join"] in lines
    assert ["collator", "a2a-trainer:pad"] in lines
    assert "overridden" not in result.output


def test_overrides_are_shown(recipe: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2A__TRAINER__EPOCHS", "3")
    result = run("check", recipe, "--set", "encoders.picture.width=8")
    assert result.exit_code == 0
    shown = result.output.partition("overridden:\n")[2]
    assert "A2A__TRAINER__EPOCHS" in shown
    assert "encoders.picture.width" in shown


def test_parts_may_be_left_out(recipe: Path, run) -> None:
    result = run("check", recipe, "--without", "metrics.hits")
    assert result.exit_code == 0
    assert "metrics.hits" not in result.output.partition("overridden")[0]
    assert run("check", recipe, "--without", "metrics.hist").exit_code == 2


def test_what_a_run_would_lack_is_a_mistake(recipe: Path, run) -> None:
    result = run("check", recipe, "--without", "data.train", "--without", "fusion")
    assert result.exit_code == 2
    assert "`[data.train]`" in result.output
    assert "`[fusion]`" in result.output


def test_all_mistakes_are_shown_at_once_with_suggestions(recipe: Path, run) -> None:
    recipe.write_text(BROKEN)
    result = run("check", recipe)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "recipe.toml:3" in result.stderr
    assert "did you mean `width`?" in result.stderr
    assert "recipe.toml:6" in result.stderr
    assert "did you mean `guess`?" in result.stderr
    assert result.stderr.rstrip().endswith("5 errors"), "three tables are missing, too"


def test_a_wrong_override_is_a_mistake(recipe: Path, run) -> None:
    result = run("check", recipe, "--set", "encoders.picture.width=wide")
    assert result.exit_code == 2
    assert "encoders.picture.width=wide" in result.stderr


def test_machines_get_the_parts(recipe: Path, run) -> None:
    result = run("check", recipe, "--json", "--set", "trainer.epochs=2")
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert found["ok"] is True
    assert found["problems"] == []
    assert found["parts"]["heads.digit"] == "acme-parts:guess"
    assert "trainer.epochs" in str(found["overrides"])


def test_machines_get_each_mistakes_place(recipe: Path, run) -> None:
    recipe.write_text(BROKEN)
    result = run("check", recipe, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 2
    assert result.stderr == ""
    assert found["ok"] is False
    first = next(each for each in found["problems"] if each["line"] == 3)
    assert (Path(first["file"]).name, first["column"]) == ("recipe.toml", 1)
    assert "widht" in first["message"]
    assert "width" in first["hint"]


def test_machines_get_mistakes_without_a_place(recipe: Path, run) -> None:
    found = json.loads(run("check", recipe, "--json", "--set", "encoders.picture.width=0").stdout)
    assert found["problems"][0]["line"] is None
    missing = json.loads(run("check", "nothing.toml", "--json").stdout)
    assert missing["ok"] is False
    assert "nothing.toml" in missing["problems"][0]["message"]
