import random

import pytest

from a2a_classification.labels import LabelProcessor, in_order, learned, numbered


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ("10 9 2 -1 0", "-1 0 2 9 10"),
        ("b a C", "C a b"),
        ("class10 class9 class2b class2a", "class2a class2b class9 class10"),
        ("1 b 10 a 2", "1 2 10 a b"),
        ("True False", "False True"),
        ("² 1² 10 9", "1² 9 10 ²"),
    ],
)
def test_names_are_sorted_as_people_do(names, wanted):
    given = names.split()
    random.Random(0).shuffle(given)
    assert " ".join(in_order(given)) == wanted


def test_classes_are_learned_from_text_numbers_and_truth():
    assert learned("label", [3, None, "b", 10, 3, True, "3"]) == ("3", "10", "True", "b")
    assert learned("label", [1.5, "a", "b", float("nan"), {}]) == ("a", "b")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "no training row has a label"),
        ([None, None], "no training row has a label"),
        (["a", "a", None], "every training row has the label `a`"),
        ([0.5, 1.5], "0.5 is no class: write labels as text or whole numbers"),
        ([["a", "b"], ["c"]], "this is list"),
        (range(10_001), "more than 10000 different labels"),
        (
            [None, *(f"{n} is the number\nof this long text of many words" for n in range(767)), *["the same"] * 33],
            r"^768 classes in 800 rows: is `label` a label\? They are `0 is the number of this long text of man…`, .* 763 more",
        ),
    ],
)
def test_labels_that_make_no_classes_are_an_error(labels, message):
    with pytest.raises(ValueError, match=message):
        learned("label", labels)


def test_few_classes_or_several_rows_of_each_are_labels():
    assert len(learned("label", range(50))) == 50
    assert len(learned("label", [*range(60), *range(15)])) == 60
    with pytest.raises(ValueError, match="60 classes in 74 rows"):
        learned("label", [*range(60), *range(14)])


def test_a_stranger_is_shown_with_a_few_classes():
    names = [f"class {n} {'x' * 500}" for n in range(300)]
    with pytest.raises(ValueError, match="and 292 more") as caught:
        LabelProcessor("kind", names)({"kind": "?" * 5000})
    assert len(str(caught.value)) < 600


def test_a_number_of_classes_is_compared_with_the_labels():
    assert numbered("label", 3, [0, "1", 2, None, 2]) == ("0", "1", "2")
    assert numbered("label", 3, [0, 1] * 100 + [7]) == ("0", "1", "2")
    with pytest.raises(
        ValueError, match=r"`classes = 3` takes 0 to 2, but of 4 labels in field `label` 2 are others: `3`, `10`"
    ):
        numbered("label", 3, [0, 10, 3, 1])
    with pytest.raises(ValueError, match="no training row has a label"):
        numbered("label", 3, [None])


def test_a_label_becomes_the_number_of_its_class():
    process = LabelProcessor("kind", ["cat", "1", "True"])
    assert [process({"kind": label}) for label in ("cat", 1, "1", True, None)] == [0, 1, 1, 2, None]
    assert process({}) is None
    padded = process.pad([0, None, 2])["label"]
    assert padded.tolist() == [0, -100, 2]
    assert str(padded.dtype) == "torch.int64"


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("cta", r"`cta` is none of the 3 classes; did you mean `cat`\?"),
        ("zebra", "the classes are `cat`, `dog`, `owl`"),
        (1.0, "field `kind`: 1.0 is no class"),
        (float("nan"), "nan is no class"),
        (["cat"], "this is list"),
        ("", "an empty text"),
        (b"cat", "this is bytes"),
    ],
)
def test_a_label_that_is_no_class_is_named(label, message):
    with pytest.raises(ValueError, match=message):
        LabelProcessor("kind", ["cat", "dog", "owl"])({"kind": label})


@pytest.mark.parametrize("label", [10, -1, "10", "x"])
def test_a_number_out_of_range_says_the_range(label):
    with pytest.raises(ValueError, match=f"field `kind`: the label `{label}` is out of range: the classes are 0 to 9"):
        LabelProcessor("kind", [str(number) for number in range(10)])({"kind": label})
