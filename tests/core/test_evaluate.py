from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from a2a_core import Row
from a2a_core.builtin.pad import PadCollator
from a2a_core.data import Batches, collator, load, prepare
from a2a_core.evaluate import evaluate
from a2a_core.inference import Lines, predict, read_lines
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts


class Error:
    def __init__(self) -> None:
        self.errors: list[float] = []

    def update(self, outputs: Any, targets: Any) -> None:
        here = targets["value"].isfinite()
        self.errors += (outputs["values"] - targets["value"])[here].abs().tolist()

    def state(self) -> list[float]:
        return self.errors

    def merge(self, state: list[float]) -> None:
        self.errors += state

    def compute(self) -> dict[str, float]:
        return {"mean": sum(self.errors) / len(self.errors), "worst": max(self.errors)}


@pytest.mark.parametrize("size", [1, 3, 7, 20])
def test_results_do_not_depend_on_the_batches(toy_parts: Callable[..., Parts], size: int) -> None:
    torch.manual_seed(0)
    model = A2AModel.from_parts(toy_parts()).double().train()
    fields = [{"left": [float(n)], "right": [1.0] * (1 + n % 3), "value": None if n % 4 == 0 else n / 7} for n in range(7)]
    data = prepare(Lines([Row(each, str(n), Path(), f"rows:{n}") for n, each in enumerate(fields)]), model.parts)
    for medium in data.media.values():
        assert medium.processor.deterministic
    batches = load(data, collator(PadCollator(), model.parts), Batches(len(data), size))
    as_double = (convert(batch) for batch in batches)
    found = evaluate(model, as_double, {"error": ("number", Error())}, lambda bad: None)
    assert model.training, "left as it was"
    outputs = [one(model, data, n) - fields[n]["value"] for n in range(7) if fields[n]["value"] is not None]
    assert found["loss"] == pytest.approx(sum(error**2 for error in outputs) / len(outputs), rel=1e-5)
    assert found["error"] == pytest.approx(sum(map(abs, outputs)) / len(outputs), rel=1e-5)
    assert found["error/worst"] == pytest.approx(max(map(abs, outputs)), rel=1e-5)


def convert(batch: Any) -> Any:
    for key in ("left", "right"):
        batch["inputs"][key]["tensors"]["numbers"] = batch["inputs"][key]["tensors"]["numbers"].double()
    return batch


def one(model: A2AModel, data: Any, n: int) -> float:
    batch = convert(collator(PadCollator(), model.parts)([data[n]]))
    return model.eval()(batch["inputs"]).outputs["number"]["values"][0].item()


def test_bad_rows_are_handed_out(toy_parts: Callable[..., Parts]) -> None:
    model = A2AModel.from_parts(toy_parts())
    fields: list[dict[str, Any]] = [{"left": "no", "value": 1}, {"left": [1.0], "value": 1}]
    data = prepare(Lines([Row(each, str(n), Path(), f"rows:{n}") for n, each in enumerate(fields)]), model.parts)
    bad: list[Any] = []
    found = evaluate(model, load(data, collator(PadCollator(), model.parts), Batches(2, 1)), {}, bad.extend)
    assert [each.row.id for each in bad] == ["0"]
    assert found["loss"] > 0


def test_nothing_labelled_is_no_loss(toy_parts: Callable[..., Parts]) -> None:
    model = A2AModel.from_parts(toy_parts())
    data = prepare(Lines([Row({"left": [1.0]}, "0", Path(), "rows:0")]), model.parts)
    assert evaluate(model, load(data, collator(PadCollator(), model.parts), Batches(1, 1)), {}, lambda bad: None) == {}


def test_predictions_keep_rows_in_order_and_say_what_is_wrong(toy_parts: Callable[..., Parts]) -> None:
    from types import SimpleNamespace

    from a2a_core.inference import Trained

    model = A2AModel.from_parts(toy_parts()).eval()
    loaded: Any = SimpleNamespace(recipe=SimpleNamespace(collator=PadCollator(), data={}, trainer=None))
    lines = ['{"left": [1.0], "kept": {"a": [1]}}', "", '{"left": "no"}', '{"left": [2.0], "right": [1.0]}']
    rows = list(read_lines(lines, "in.jsonl", Path()))
    found = list(predict(Trained(loaded, model), rows, batch_size=2))
    assert [row.place for row, _ in found] == ["in.jsonl:1", "in.jsonl:3", "in.jsonl:4"]
    assert isinstance(found[0][1], dict)
    assert isinstance(found[0][1]["number"], float)
    assert isinstance(found[1][1], str)
    assert found[0][0].fields["kept"] == {"a": [1]}
