"""Errors show the place, fit a terminal and survive a process border."""

import pickle

import pytest

from a2a_core.errors import A2AError, Origin, Problem, RunFailed, suggest


def test_a_problem_with_its_place() -> None:
    origin = Origin("recipe.toml", "hiden_size = 192", 14, 0, 10)
    assert Problem("unknown key `hiden_size`", origin, "did you mean `hidden_size`?").render() == (
        "error: unknown key `hiden_size`\n"
        "  --> recipe.toml:14\n"
        "14 | hiden_size = 192\n"
        "     ^^^^^^^^^^ did you mean `hidden_size`?"
    )


def test_a_problem_without_a_line() -> None:
    assert Problem("gone", Origin("default"), "look").render() == "error: gone\n  --> default\n  help: look"
    assert Problem("gone").render() == "error: gone"


@pytest.mark.parametrize("column", [0, 79, 81, 5000, 99_990])
def test_long_lines_are_cut_around_the_place(column: int) -> None:
    text = "x" * column + "HERE" + "x" * (100_000 - column)
    *_, line, marks = Problem("m", Origin("r.toml", text, 1, column, 4)).render().splitlines()
    assert len(line) < 200
    assert line[marks.index("^") :].startswith("HERE")
    assert marks.strip() == "^^^^"


def test_signs_that_terminals_obey() -> None:
    problem = Problem("a\x1b[31m\nb\udcff", Origin("r\x07.toml", "a\t\x1b = 1", 1, 5, 1), "\x9b")
    shown = problem.render()
    assert shown == "error: a\\x1b[31m\nb\\udcff\n --> r\\x07.toml:1\n1 | a   = 1\n         ^ \\x9b"
    shown.encode()


def test_several_problems() -> None:
    error = A2AError([Problem("one"), Problem("two", hint="do it")])
    assert str(error) == "error: one\n\nerror: two\n  help: do it"
    assert A2AError("one", hint="do it").problems == [Problem("one", hint="do it")]


@pytest.mark.parametrize("kind", [A2AError, RunFailed])
def test_errors_cross_process_borders(kind: type[A2AError]) -> None:
    error = kind("one", hint="do it")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.problems, str(again), again.exit_code) == (error.problems, str(error), error.exit_code)


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("Widht", ["width", "depth"], "did you mean `width`?"),
        ("x", ["width", "depth"], "there is `depth`, `width`"),
        ("x", [], "there is none"),
        ("x", [f"name{number}" for number in range(13)], "13 are known; see `a2a plugins list`"),
    ],
)
def test_suggestions(word: str, known: list[str], expected: str) -> None:
    assert suggest(word, known) == expected
