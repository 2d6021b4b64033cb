import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_data.json_paths import ABSENT, JsonPath

DOCUMENT = {"annotation": {"label": "fall", "é b": None}, "segments": [{"label": "a", "end": 2}, {"label": "b", "end": 7}]}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("$", DOCUMENT),
        ("$.annotation.label", "fall"),
        ("$['annotation']['é b']", None),
        ("$.segments", DOCUMENT["segments"]),
        ("$.segments[-1].label", "b"),
        ("$.segments[?@.end > 5].label", "b"),
        ("$.segments[?length(@.label) == 1 && @.end < 5].end", 2),
        ("$.nothing", ABSENT),
        ("$.annotation[0]", ABSENT),
        ("$.segments[?@.end > 9]", ABSENT),
    ],
)
def test_a_path_gives_the_one_value_that_it_selects(path, wanted):
    assert JsonPath("label", path).value(DOCUMENT) == wanted


def test_several_values_are_refused_where_one_is_wanted():
    with pytest.raises(
        ValueError, match=r"`\$\.\.label` selects 3 values, `label` is one: \$\.annotation\.label, \$\.segments\[0\]"
    ):
        JsonPath("label", "$..label").value(DOCUMENT)


def test_several_values_are_a_list_where_one_is_wanted():
    assert JsonPath("x", "$.segments[*].label", several=True).value(DOCUMENT) == ["a", "b"]
    assert JsonPath("x", "$.segments[?@.end > 5]", several=True).value(DOCUMENT) == DOCUMENT["segments"][1:]
    assert JsonPath("x", "$.segments[?@.end > 9]", several=True).value(DOCUMENT) == []
    assert JsonPath("x", "$.segments", several=True).value(DOCUMENT) == DOCUMENT["segments"]
    assert JsonPath("x", "$.annotation.label", several=True).value(DOCUMENT) == "fall"
    assert JsonPath("x", "$.nothing", several=True).value(DOCUMENT) is ABSENT


@pytest.mark.parametrize("path", ["", "a.b", " $.a", "$.a[", "$..", "$.a b", "$.a-b", "$[?unknown(@)]", "$.a | $.b", "$[01]"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match="`json.label` = .* is no JSON path: "):
        JsonPath("label", path)


def test_a_path_that_was_probably_meant():
    assert JsonPath("label", "$.anotation.label").close(DOCUMENT) == "did you mean `$.annotation.label`?"
    assert "there is `$.a`" in JsonPath("label", "$.completely.different").close({"a": 1})
    assert JsonPath("label", "$.x").close([]) == "it is empty"


keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
documents = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def leaves(document, path="$"):
    """Every value with its normalized path, made by hand."""
    yield path, document
    inner = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in inner:
        yield from leaves(value, f"{path}[{json.dumps(key)}]")


@given(documents)
def test_every_value_is_found_by_its_path(document):
    for path, value in leaves(document):
        assert JsonPath("x", path).value(document) == value
        assert JsonPath("x", path, several=True).value(document) == value


@given(st.lists(st.dictionaries(st.sampled_from(string.ascii_lowercase[:3]), st.integers(0, 5), max_size=3), max_size=5))
def test_a_filter_is_a_comprehension(found):
    wanted = [item for item in found if item.get("a", 0) > 2]
    assert JsonPath("x", "$[?@.a > 2]", several=True).value(found) == wanted
