import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from a2a_classification.label_sets import LabelSetProcessor, learned_labels
from a2a_classification.multi_label import MultiLabelHead
from a2a_core.errors import A2AError
from a2a_core.structures import Widths

NAMES = ("cat", "dog", "owl")


def encode(raw, separator="", names=NAMES):
    return LabelSetProcessor("tags", names, separator)({"tags": raw})


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (["owl", "cat"], [True, False, True]),
        (["cat", "cat"], [True, False, False]),
        ([], [False, False, False]),
        ({"cat": 1, "dog": 0}, [True, False, None]),
        ({"cat": True, "dog": False, "owl": None}, [True, False, None]),
        ({"cat": 0.0, "owl": 1.0}, [False, None, True]),
    ],
)
def test_a_list_says_all_and_a_table_what_it_names(raw, wanted):
    assert encode(raw) == wanted


@pytest.mark.parametrize("raw", [None, {}, {"cat": None}])
def test_a_row_that_says_nothing_has_no_target(raw):
    assert encode(raw) is None


def test_a_text_is_split_where_the_separator_says():
    assert encode("owl | cat", "|") == [True, False, True]
    assert encode("", "|") == encode("  ", "|") == [False, False, False]


@pytest.mark.parametrize(
    ("raw", "separator", "message"),
    [
        ("cat", "", "field `tags`: labels are a list of names, .* this is str cat; set `separator`"),
        ("cat||dog", "|", "an empty text"),
        (["cta"], "", r"`cta` is none of the 3 classes; did you mean `cat`\?"),
        ({"cat": 2}, "", "whether `cat` applies is 0 or 1, this is int 2"),
        ({"cat": math.nan}, "", "this is float nan"),
        ({"cat": "yes"}, "", "this is str yes"),
        ([1.5], "", "1.5 is no class"),
        ([None], "", "this is NoneType"),
        (3, "", "this is int 3"),
        (math.inf, "", "this is float inf"),
    ],
)
def test_what_is_no_set_of_labels_is_named(raw, separator, message):
    with pytest.raises(ValueError, match=message):
        encode(raw, separator)


@given(st.lists(st.sampled_from(NAMES)), st.sampled_from([",", "; ", "|"]))
def test_lists_texts_and_tables_say_the_same(chosen, separator):
    wanted = encode(chosen)
    assert encode(separator.join(chosen), separator) == wanted
    assert encode({name: int(name in chosen) for name in NAMES}) == wanted
    assert [name for name, applies in zip(NAMES, wanted, strict=True) if applies] == sorted(set(chosen))


def test_targets_are_padded_with_what_is_unknown():
    process = LabelSetProcessor("tags", NAMES)
    found = process.pad([[True, False, None], None])
    assert found["labels"].tolist() == [[1, 0, 0], [0, 0, 0]]
    assert found["known"].tolist() == [[True, True, False], [False] * 3]
    assert process.pad([None])["labels"].shape == (1, 3)


def test_labels_are_learned_from_all_forms():
    assert learned_labels("tags", [["b", 10], None, {"a": 0, "c": None}, [], 5, "x"], "") == ("10", "a", "b", "c")
    assert learned_labels("tags", ["b;a", ""], ";") == ("a", "b")
    assert learned_labels("tags", [["only"]], "") == ("only",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no training row has a label"),
        ([[], None], "no training row has a label"),
        (["a,b"], "set `separator`"),
        ([range(10_001)], "labels are a list"),
        ([list(range(10_001))], "more than 10000 different labels"),
    ],
)
def test_a_column_without_labels_is_an_error(rows, message):
    with pytest.raises(ValueError, match=message):
        learned_labels("tags", rows, "")


def test_labels_are_learned_once_and_kept():
    head = MultiLabelHead(field="tags").resolved(lambda field: [[field]])
    assert head.label_names == head.classes == ("tags",)
    assert head.resolved(pytest.fail) == head
    assert MultiLabelHead(classes=2).resolved(pytest.fail).label_names == ("0", "1")
    with pytest.raises(A2AError, match="not known yet"):
        MultiLabelHead().build(Widths(6, {}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ("a", "a")}, "names `a` twice"),
        ({"classes": ()}, "at least one"),
        ({"classes": ("",)}, "empty name"),
        ({"classes": 0}, ">= 1"),
        ({"threshold": 1.0}, "< 1"),
    ],
)
def test_wrong_options_are_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        MultiLabelHead(**options)


def test_labels_from_the_threshold_on_are_predicted(fused):
    module = MultiLabelHead(classes=NAMES, threshold=0.75).build(Widths(6, {}))
    assert module(fused, {})["logits"].shape == (4, 3)
    at = math.log(3.0)  # sigmoid of it is 0.75
    logits = torch.tensor([[at + 1e-3, -9, 9], [at - 1e-3, 0, -9]])
    assert module.predict({"logits": logits}) == [["cat", "owl"], []]


def test_a_fusion_without_pooled_vector_is_an_error():
    with pytest.raises(A2AError, match="this fusion makes none"):
        MultiLabelHead(classes=2).build(Widths(None, {}))
