from pathlib import Path

from a2a_core import Row
from a2a_core.reasons import EACH, KINDS, Tally, few, kind_of, problems


def row(number: int) -> Row:
    return Row({}, f"r{number}", Path(), f"rows:{number}")


def test_reasons_are_alike_whatever_file_name_or_number_they_speak_of() -> None:
    unreadable = "field `image` ({0}): cannot identify image file '{0}' (at byte {1})"
    assert kind_of(unreadable.format("/a/1.png", 12)) == kind_of(unreadable.format("/b c/2.png", 7.5))
    assert kind_of("field `image`: there is no file /a/b") != kind_of("field `sound`: there is no file /a/b")
    strange = "field `label`: the label `{}` is none of the 3 classes; the classes are `a`, `b`, `c`"
    assert kind_of(strange.format("x")) == kind_of(strange.format("a whole text"))


def test_a_few_of_each_kind_are_shown_and_the_others_counted() -> None:
    bad = [(number, f"field `image`: there is no file /{number}") for number in range(10)]
    bad[4:4] = [(100, "too short"), (101, "too short")]
    shown = list(few(bad))
    assert [(number, more) for number, _, more in shown] == [(0, 0), (1, 0), (2, 7), (100, 0), (101, 0)]
    assert [number for number, _, more in few(bad[:EACH])] == [0, 1, 2]
    assert len(list(few([(n, "x" * n) for n in range(99)]))) == KINDS


def test_mistakes_say_how_many_more_there_are() -> None:
    found = problems([(row(number), "too short") for number in range(5)])
    assert [problem.message for problem in found] == [f"rows:{n} (id r{n}): too short" for n in range(3)]
    assert [problem.hint for problem in found] == ["", "", "and 2 more like this"]


def test_reasons_that_come_one_by_one_are_tallied() -> None:
    tally = Tally()
    assert [tally.worth(f"it lasts {seconds} s") for seconds in range(5)] == [True, True, True, False, False]
    assert list(tally.rest()) == ["and 2 more like this: it lasts … s"]
    assert [tally.worth(letters) for letters in ("a", "b", "c", "d", "e", "f")] == [True] * 4 + [False] * 2
    assert list(tally.rest())[1:] == ["and 2 more for other reasons"]
