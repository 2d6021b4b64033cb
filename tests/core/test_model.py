from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from a2a_core import A2AError, Row, RunFailed
from a2a_core.builtin.pad import PadCollator
from a2a_core.data import collator, prepare
from a2a_core.export import export, verify
from a2a_core.inference import Lines
from a2a_core.model import A2AConfig, A2AModel
from a2a_core.recipe import Parts, plain
from a2a_core.testing.reference import ReferenceEncoder


def batch(parts: Parts, *fields: dict[str, Any]) -> dict[str, Any]:
    data = prepare(Lines([Row(each, str(place), Path(), f"rows:{place}") for place, each in enumerate(fields)]), parts)
    return collator(PadCollator(), parts)([data[place] for place in range(len(data))])


ROWS: tuple[dict[str, Any], ...] = (
    {"left": [1.0, 2.0, 3.0], "right": [0.5], "value": 1.0},
    {"left": [1.5], "value": 2.0},
    {"right": [2.5, 1.0], "value": -1.0},
    {"left": [4.0], "right": [1.0]},
)


@pytest.fixture
def model(toy_parts: Callable[..., Parts]) -> A2AModel:
    torch.manual_seed(0)
    return A2AModel.from_parts(toy_parts()).eval()


def test_widths_flow_and_a_projector_stands_where_they_differ(model: A2AModel) -> None:
    assert set(model.projectors) == {"right"}
    assert model.projectors["right"].linear.weight.shape == (16, 8)
    assert model.heads["number"].linear.in_features == 16


def test_a_sample_is_the_same_among_any_others(model: A2AModel) -> None:
    together = model(batch(model.parts, *ROWS)["inputs"]).outputs["number"]["values"]
    for place, fields in enumerate(ROWS):
        alone = model(batch(model.parts, fields)["inputs"]).outputs["number"]["values"]
        assert torch.allclose(alone, together[place : place + 1], atol=1e-6)


def test_several_items_in_one_sample_are_as_many_tokens(model: A2AModel) -> None:
    data = prepare(Lines([Row({"left": [1.0]}, "0", Path(), "")]), model.parts)
    sample = data[0]
    double = sample._replace(items={**sample.items, "left": [*sample.items["left"]] * 2})
    made = collator(PadCollator(), model.parts)([double, sample])
    assert made["inputs"]["left"]["slots"] == 2
    outputs = model(made["inputs"]).outputs["number"]["values"]
    assert torch.allclose(outputs[0], outputs[1], atol=1e-6), "the mean of two equal tokens is the token"


def test_totals_add_up_and_counts_need_no_forward(model: A2AModel) -> None:
    whole = batch(model.parts, *ROWS)
    assert model.counts(whole) == {"fit/squared": 3.0}
    total = model(whole["inputs"], whole["targets"], ["fit"]).totals["fit/squared"]
    parts = [batch(model.parts, *ROWS[:2]), batch(model.parts, *ROWS[2:])]
    split = sum(model(part["inputs"], part["targets"], ["fit"]).totals["fit/squared"] for part in parts)
    assert torch.allclose(total, split)


def test_every_parameter_is_in_the_graph_of_any_batch(model: A2AModel) -> None:
    made = batch(model.parts, {"left": [1.0], "value": 1.0})
    output = model(made["inputs"], made["targets"], ["fit"])
    (sum(output.totals.values()) + output.anchor).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert float(model.encoders["right"].linear.weight.grad.abs().max()) == 0


def test_it_comes_back_as_it_was_saved(model: A2AModel, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    again = A2AModel.from_pretrained(folder).eval()
    made = batch(model.parts, *ROWS)
    assert torch.equal(again(made["inputs"]).outputs["number"]["values"], model(made["inputs"]).outputs["number"]["values"])
    assert plain(again.parts) == plain(model.parts)
    assert again.parts.encoders["right"].width == 8
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


class Holder(nn.Module):
    """It holds no tensor itself, and fills a buffer of what it wraps."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.width = inner, inner.width
        inner.register_buffer("table", torch.full((1000,), 7.0), persistent=False)

    def forward(self, **tensors: torch.Tensor) -> Any:
        return self.inner(**tensors)

    def reset_buffers(self) -> None:
        self.inner.table.fill_(7)


def test_buffers_that_are_not_saved_are_made_again(
    toy_parts: Callable[..., Parts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = ReferenceEncoder.build
    monkeypatch.setattr(ReferenceEncoder, "build", lambda self: Holder(build(self)))
    A2AModel.from_parts(toy_parts()).save_pretrained(tmp_path)
    again: Any = A2AModel.from_pretrained(tmp_path)
    assert torch.equal(again.encoders["left"].inner.table, torch.full((1000,), 7.0))


@pytest.mark.parametrize("fault", ["missing", "left-over", "misshapen"])
def test_weights_that_do_not_fit_are_an_error(model: A2AModel, tmp_path: Path, fault: str) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    name = "heads.number.linear.weight"
    if fault == "missing":
        del state[name]
    elif fault == "left-over":
        name = "heads.other.weight"
        state[name] = torch.zeros(2)
    else:
        state[name] = torch.zeros(3, 5)
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(A2AError, match=f"{fault} tensor `{name}`"):
        A2AModel.from_pretrained(tmp_path)


def test_a_fusion_of_nothing_is_not_built(toy_parts: Callable[..., Parts], monkeypatch: pytest.MonkeyPatch) -> None:
    parts = toy_parts(encoders={})
    with pytest.raises(A2AError, match="fusion `reference` joins what encoders give"):
        A2AModel.from_parts(parts)
    monkeypatch.setattr(type(parts.fusion), "needs_encoders", False)
    assert len(A2AModel.from_parts(parts).encoders) == 0


def test_it_builds_on_the_meta_device(toy_parts: Callable[..., Parts]) -> None:
    parts = toy_parts()
    with torch.device("meta"):
        model = A2AModel(A2AConfig(parts=plain(parts)), parts)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_a_frozen_encoder_is_not_trained_and_stays_in_evaluation_mode(toy_parts: Callable[..., Parts]) -> None:
    left = {"use": "reference", "freeze": True}
    model = A2AModel.from_parts(toy_parts(encoders={"left": left, "right": {"use": "reference"}})).train()
    assert not any(parameter.requires_grad for parameter in model.encoders["left"].parameters())
    assert not model.encoders["left"].training
    assert model.encoders["right"].training


def test_what_is_frozen_is_so_when_it_comes_back(toy_parts: Callable[..., Parts], tmp_path: Path) -> None:
    parts = toy_parts(encoders={"left": {"use": "reference", "freeze": True}, "right": {"use": "reference"}})
    A2AModel.from_parts(parts).save_pretrained(tmp_path)
    again = A2AModel.from_pretrained(tmp_path)
    frozen = {name for name, parameter in again.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in again.named_parameters() if name.startswith("encoders.left.")} != set()


def test_an_export_is_read_back_and_compared(model: A2AModel, tmp_path: Path) -> None:
    export(model, tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    state = load_file(path)
    state["fusion.linear.bias"] = state["fusion.linear.bias"] + 1e-6
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(RunFailed, match=r"changed: fusion.linear.bias"):
        verify(model, tmp_path / "model")
    del state["fusion.linear.bias"]
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(RunFailed, match=r"missing: fusion.linear.bias"):
        verify(model, tmp_path / "model")
    export(model, tmp_path / "model")
    verify(model, tmp_path / "model")
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".model")] == []


def test_parts_run_in_the_order_of_the_recipe_after_loading(toy_parts: Callable[..., Parts], tmp_path: Path) -> None:
    """They draw random numbers in it: a run that goes on would not go on to the same weights."""
    model = A2AModel.from_parts(toy_parts(encoders={"right": {"use": "reference"}, "left": {"use": "reference"}}))
    model.save_pretrained(tmp_path)
    for again in (A2AModel.from_pretrained(tmp_path), A2AModel(A2AConfig.from_pretrained(tmp_path))):
        assert list(again.parts.encoders) == list(again.encoders) == ["right", "left"]
