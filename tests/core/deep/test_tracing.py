"""Fake tensors show what real ones do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from a2a_core import Row
from a2a_core.builtin.pad import PadCollator
from a2a_core.data import collator, prepare
from a2a_core.deep.fakes import Fakes
from a2a_core.deep.ledger import Ledger
from a2a_core.deep.samples import longest, misplaced
from a2a_core.deep.tracing import tensors, trace
from a2a_core.inference import Lines
from a2a_core.recipe import Parts
from a2a_core.structures import Plan

LONGEST = {"left": 3, "right": 1}


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_fake_pass_takes_what_a_real_one_takes(toy: Any, precision: Any) -> None:
    found = trace(toy.fakes, toy.fake, toy.batch, 2, Plan(precision=precision), LONGEST)
    given = list(tensors({"inputs": toy.batch["inputs"], "targets": toy.batch["targets"]}))
    ledger = Ledger([*toy.real.parameters(), *toy.real.buffers()], given)
    for parameter in toy.real.parameters():
        parameter.register_post_accumulate_grad_hook(ledger.accumulated)
    with ledger:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            output = toy.real(toy.batch["inputs"], toy.batch["targets"], ["fit"])
        loss = output.anchor + output.totals["fit/squared"].float()
        del output
        loss.backward()
    assert found.complete
    for name in ("activations", "first"):
        assert getattr(found.peaks, name) == pytest.approx(getattr(ledger.peaks, name), rel=0.02), name
    assert sum(found.flops.values()) == sum(ledger.flops.values()) > 0
    assert found.inputs == sum(tensor.untyped_storage().nbytes() for tensor in given)


def test_shapes_are_those_of_the_parts(toy: Any) -> None:
    found = trace(toy.fakes, toy.fake, toy.batch, 2, Plan(), LONGEST)
    assert found.shapes["encoders.left"][1] == {"values": (2, 3, 16)}
    assert found.shapes["encoders.right"][1] == {"values": (1, 1, 8)}, "one of two rows has it"
    assert found.shapes["projectors.right"] == ({"values": (1, 1, 8)}, {"values": (1, 1, 16)})
    assert found.shapes["fusion"][0] == {"left": (2, 3, 16), "right": (1, 1, 16)}
    assert found.shapes["heads.number"][1] == {"values": (2,)}
    assert found.flops["encoders.left"] > 0
    assert found.unreached == ()


def test_encoders_that_share_weights_are_looked_at_one_by_one(toy_parts: Callable[..., Parts]) -> None:
    parts = toy_parts(encoders={"left": {"use": "reference"}, "right": {"use": "reference", "like": "left"}})
    rows: list[dict[str, Any]] = [{"left": [1.0, 2.0], "right": [0.5, 0.5, 0.5], "value": 1.0}, {"left": [1.5], "value": 2.0}]
    data = prepare(Lines([Row(fields, str(place), Path(), "") for place, fields in enumerate(rows)]), parts)
    samples: list[Any] = [data[0], data[1]]
    batch: Any = collator(PadCollator(), parts)(samples)
    fakes = Fakes("cpu")
    found = trace(fakes, fakes.model(parts), batch, 2, Plan(), longest(samples, parts))
    assert found.shapes["encoders.left"][1] == {"values": (2, 2, 16)}, "the largest"
    assert found.emitted == {"left": 3}, "which is not the longest"
    assert misplaced(samples, found.emitted, parts) == []


def test_more_rows_take_more_and_nothing_is_allocated(toy: Any) -> None:
    few, many = (trace(toy.fakes, toy.fake, toy.batch, rows, Plan(), LONGEST) for rows in (2, 2**24))
    assert many.shapes["encoders.left"][1] == {"values": (2**24, 3, 16)}
    assert many.peaks.activations > 2**22 * few.peaks.activations
    assert sum(many.flops.values()) == pytest.approx(2**23 * sum(few.flops.values()), rel=0.01)


def test_the_model_is_left_as_it_was(toy: Any) -> None:
    trace(toy.fakes, toy.fake, toy.batch, 2, Plan(), LONGEST)
    assert all(parameter.grad is None for parameter in toy.fake.parameters())
    assert not any("forward" in vars(module) for module in toy.fake.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in toy.fake.modules())


@pytest.mark.parametrize("path", ["encoders.left", "projectors.right", "fusion", "heads.number", "losses.fit"])
@pytest.mark.parametrize("fails", [lambda tensor: tensor[tensor > 0], lambda tensor: tensor.sum().item()])
def test_a_part_that_looks_at_values_is_stood_in_for(toy: Any, path: str, fails: Any) -> None:
    part = toy.fake.get_submodule(path)
    forward = part.forward

    def looks(*args: Any, **kwargs: Any) -> Any:
        fails(next(tensors([args, kwargs])).float())
        return forward(*args, **kwargs)

    part.forward = looks
    found = trace(toy.fakes, toy.fake, toy.batch, 2, Plan(), LONGEST)
    assert len(found.notes) == 1
    assert f"`{path}` cannot be traced" in found.notes[0]
    assert set(found.shapes) >= {"encoders.right", "fusion", "heads.number"}, "all else goes on"
    assert found.shapes["encoders.left"][1] == {"values": (2, 3, 16)}
