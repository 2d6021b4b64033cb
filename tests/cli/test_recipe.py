import json
from pathlib import Path

import jsonschema
import pytest
import tomli


def test_fill_prints_a_complete_recipe(recipe: Path, run) -> None:
    result = run("recipe", "fill", recipe, "--set", "trainer.epochs=3", "--without", "metrics.hits")
    assert result.exit_code == 0
    filled = tomli.loads(result.stdout)
    assert filled["encoders"]["picture"]["use"] == "acme-parts:eye"
    assert filled["encoders"]["picture"]["layers"] == [8, 16]
    assert filled["trainer"]["epochs"] == 3
    assert "hits" not in filled.get("metrics", {})
    width = next(line for line in result.stdout.splitlines() if line.startswith("width = 32"))
    assert "recipe.toml:7" in width


def test_what_fill_writes_is_a_recipe_that_fills_to_itself(recipe: Path, run) -> None:
    result = run("recipe", "fill", recipe, "-o", "filled.toml")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "wrote filled.toml" in result.stderr
    again = run("recipe", "fill", "filled.toml").stdout
    assert tomli.loads(again) == tomli.loads(Path("filled.toml").read_text())
    assert run("check", "filled.toml").exit_code == 0


def test_fill_does_not_write_over_its_recipe(recipe: Path, run) -> None:
    before = recipe.read_text()
    result = run("recipe", "fill", recipe, "-o", f"../{recipe.resolve().parent.name}/{recipe}")
    assert result.exit_code == 2
    assert "is the recipe itself" in result.stderr
    assert recipe.read_text() == before


def test_a_broken_recipe_writes_nothing(recipe: Path, run) -> None:
    recipe.write_text("[fusion]\nuse = 'jion'\n")
    result = run("recipe", "fill", recipe, "-o", "filled.toml")
    assert result.exit_code == 2
    assert "did you mean `join`?" in result.stderr
    assert not Path("filled.toml").exists()


def test_a_folder_that_is_not_there(recipe: Path, run) -> None:
    result = run("recipe", "fill", recipe, "-o", "nowhere/filled.toml")
    assert result.exit_code == 2
    assert "nowhere/filled.toml cannot be written: No such file or directory" in result.stderr


def test_the_schema_accepts_good_recipes_only(recipe: Path, run) -> None:
    result = run("recipe", "schema")
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    good = tomli.loads(recipe.read_text())
    jsonschema.validate(good, schema)
    good["encoders"]["picture"]["widht"] = 3
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(good, schema)


def test_the_schema_goes_to_a_file(recipe: Path, run) -> None:
    assert run("recipe", "schema", "-o", "recipe.schema.json").exit_code == 0
    assert "$schema" in json.loads(Path("recipe.schema.json").read_text())
    assert "#:schema ./recipe.schema.json" in run("recipe", "schema", "--help").output
