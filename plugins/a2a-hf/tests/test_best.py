"""Which number tells the best checkpoint is settled before anything is trained."""

from collections.abc import Callable
from pathlib import Path

import pytest

from a2a_core import A2AError
from a2a_core.recipe import Recipe as Settings
from a2a_core.recipe import load_recipe
from a2a_hf.best import more_is_better, numbers

Recipe = Callable[..., Path]
OTHER = """
[heads.other]
use = "reference"
[losses.error]
use = "squared"
head = "other"
[data.extra]
use = "toy"
[data.test]
use = "toy"
"""


def settings(recipe: Path, *sets: str) -> Settings:
    return load_recipe(recipe, None, sets, for_run=True).recipe


@pytest.mark.parametrize(
    "name",
    ["loss", "error", "validation/error", "extra/loss", "error/of_a_class", "head_loss/other", "validation/loss/error/squared"],
)
def test_what_an_evaluation_gives_may_tell(recipe: Recipe, name: str) -> None:
    settings(recipe(more=OTHER), f'trainer.best="{name}"')


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("number.eror", "did you mean `error`? there is `loss`, `error`; of one split `validation/…`"),
        ("validation/eror", "did you mean `error`?"),
        ("test/error", "did you mean `error`?"),
        ("loss/fit/squared", "there is `loss`, `error`"),
        ("quality", "there is `loss`, `error`; of one split `validation/…`"),
    ],
)
def test_other_names_are_refused_where_the_recipe_is_read(recipe: Recipe, name: str, hint: str) -> None:
    path = recipe(("epochs = 2", f'epochs = 2\nbest = "{name}"'))
    with pytest.raises(A2AError) as caught:
        settings(path)
    (problem,) = caught.value.problems
    assert problem.message == f"`trainer.best` = `{name}` is no metric of this run"
    assert problem.hint.startswith(hint)
    assert problem.origin is not None
    assert f'best = "{name}"' in problem.origin.text


def test_a_table_tells_no_best_checkpoint(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recipe()
    monkeypatch.setattr(type(settings(path).metrics["error"]), "tabular", True)
    with pytest.raises(A2AError, match="`error` is no metric of this run"):
        settings(path, 'trainer.best="error"')
    settings(path, 'trainer.best="error/of_a_class"')


def test_the_terms_of_a_single_loss_are_the_loss(recipe: Recipe) -> None:
    assert numbers(settings(recipe())) == ["loss", "error"]
    assert numbers(settings(recipe(more=OTHER))) == [
        "loss",
        "loss/fit/squared",
        "loss/error/squared",
        "head_loss/number",
        "head_loss/other",
        "error",
    ]


def test_less_of_a_loss_is_better_whatever_a_metric_of_its_name_says(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(recipe(more=OTHER))
    monkeypatch.setattr(type(found.metrics["error"]), "higher_is_better", True)
    assert more_is_better(found, "error")
    assert more_is_better(found, "extra/error")
    assert not more_is_better(found, "loss/error/squared")
    assert not more_is_better(found, "validation/loss")
