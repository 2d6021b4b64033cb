import math
import statistics

import pytest
import torch

from a2a_classification.regress import RegressHead
from a2a_core.errors import A2AError
from a2a_core.structures import Widths


def test_mean_and_deviation_are_learned_from_good_rows():
    column = [3.0, None, 5, "bad", float("nan"), 1e9]
    head = RegressHead().resolved(lambda _: column)
    assert head.mean[0] == pytest.approx(statistics.fmean([3, 5, 1e9]), rel=1e-12)
    assert head.std[0] == pytest.approx(statistics.pstdev([3, 5, 1e9]), rel=1e-12)
    assert head.resolved(pytest.fail) == head


def test_large_offsets_and_constants_keep_their_precision():
    head = RegressHead(size=2).resolved(lambda _: [[1e9 + n, 0.1] for n in range(5)])
    assert head.std[0] == pytest.approx(math.sqrt(2), rel=1e-9)
    assert head.mean[1] == pytest.approx(0.1)
    assert head.std[1] == 1.0


def test_without_normalising_the_rows_are_not_asked():
    head = RegressHead(normalise=False).resolved(pytest.fail)
    assert head.processor()({"value": 7}) == [7.0]


@pytest.mark.parametrize(
    ("column", "message"), [([None], "no training row has a target"), (["x"], "a target is a number"), ([[1, 2]], "this has 2")]
)
def test_a_column_without_targets_is_an_error(column, message):
    with pytest.raises(ValueError, match=message):
        RegressHead().resolved(lambda _: column)


def test_targets_are_in_standard_units():
    process = RegressHead(size=2, mean=(10.0, 0.0), std=(5.0, 1.0)).processor()
    assert process({"value": [20, -1.5]}) == [2.0, -1.5]
    assert process({"value": None}) is process({}) is None
    padded = process.pad([[2.0, -1.5], None])
    assert padded["value"].tolist() == [[2.0, -1.5], [0.0, 0.0]]
    assert padded["here"].tolist() == [True, False]
    nothing = process.pad([None])
    assert nothing["value"].shape == (1, 2)
    assert nothing["here"].dtype == torch.bool


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (float("nan"), "field `score`: a target is a finite number of 32 bits, this is nan"),
        (float("-inf"), "this is -inf"),
        (10**400, "finite number"),
        (1e39, "finite number"),
        ("3.5", r"a target is a number, this is str 3\.5"),
        (True, "this is bool True"),
        ([1.0, 2.0], "`size = 1` numbers, this has 2"),
        ([], "this has 0"),
        ([None], "this is NoneType"),
        ({"x": 1}, "this is dict"),
    ],
)
def test_what_is_no_target_is_named(target, message):
    with pytest.raises(ValueError, match=message):
        RegressHead(field="score").processor()({"score": target})


def test_a_target_too_large_in_standard_units_is_named():
    with pytest.raises(ValueError, match="too large for 32 bits"):
        RegressHead(mean=(0.0,), std=(1e-30,)).processor()({"value": 1e30})


def test_predictions_are_in_the_targets_own_units(fused):
    module = RegressHead(mean=(100.0,), std=(10.0,)).build(Widths(6, {}))
    assert module(fused, {})["value"].shape == (4, 1)
    assert module.predict({"value": torch.tensor([[0.5], [-1.0]])}) == [105.0, 90.0]
    several = RegressHead(size=2, mean=(100.0, 0.0), std=(10.0, 1.0), hidden_size=3).build(Widths(6, {}))
    assert several.predict({"value": torch.tensor([[0.5, 2.0]], dtype=torch.bfloat16)}) == [[105.0, 2.0]]


def test_encoding_and_predicting_are_inverse():
    head = RegressHead(size=2).resolved(lambda _: [[1, 200], [3, -50], [4, 7.5]])
    value = head.processor().pad([head.processor()({"value": [2.5, 99.0]})])["value"]
    assert head.build(Widths(6, {})).predict({"value": value})[0] == pytest.approx([2.5, 99.0], rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": (1.0,)}, "they have 1 and 0"),
        ({"size": 2, "mean": (1.0,), "std": (1.0,)}, "have"),
        ({"mean": (1.0,), "std": (0.0,)}, "> 0"),
        ({"mean": (float("inf"),), "std": (1.0,)}, "finite"),
        ({"mean": (1.0,), "std": (1.0,), "normalise": False}, "normalise = true"),
        ({"size": 0}, ">= 1"),
    ],
)
def test_wrong_options_are_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        RegressHead(**options)


def test_a_fusion_without_pooled_vector_is_an_error():
    with pytest.raises(A2AError, match="this fusion makes none"):
        RegressHead().build(Widths(None, {"image": 8}))
