from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from a2a_core import A2AError, AdapterConfig, RunFailed
from a2a_core.data import Collate
from a2a_core.export import Exporter, apart, placed, refuse_other
from a2a_core.formats import Offer, chosen, example, export_as, offers, outputs
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts


class Bare:
    """A collator of no text."""


COLLATE = Collate(Bare())  # type: ignore[arg-type]


class Written(Exporter):
    """A file, off by so much when it is opened."""

    opens = "anyone"

    def __init__(self, off: float) -> None:
        self.off = off

    def write(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "model").write_text("it")

    def compare(self, folder: Path) -> float:
        assert (folder / "model").read_text() == "it"
        return self.off


class Adds(AdapterConfig):
    """Adds a layer, and offers formats of it."""

    name = "adds"
    adds = True

    def apply(self, model: Any) -> None:
        model.fusion.extra = nn.Linear(2, 2)

    def merge(self, model: Any) -> None:
        del model.fusion.extra

    def formats(self, model: Any, collate: Any) -> dict[str, Exporter]:
        return {"right": Written(1e-6), "wrong": Written(0.5)}


@pytest.fixture
def model(toy_parts: Callable[..., Parts]) -> A2AModel:
    torch.manual_seed(0)
    made = A2AModel.from_parts(toy_parts()).train(False)
    adapter = Adds()
    adapter.apply(made)
    parts: Any = made.parts
    made.parts = Parts(**{**vars(parts), "adapters": (adapter,)})
    return made


def test_a_format_that_comes_out_otherwise_leaves_nothing(model: A2AModel, tmp_path: Path) -> None:
    offered = offers(model, COLLATE)
    assert [offer.name for offer in offered] == ["right", "wrong", "merged"]
    with pytest.raises(RunFailed, match=r"`wrong` comes out otherwise than the model \(by 0.5\)"):
        export_as(model, COLLATE, chosen(offered, "wrong"), tmp_path / "new" / "out")
    assert not list((tmp_path / "new").iterdir())


def test_merged_is_a_model_without_adapters(model: A2AModel, tmp_path: Path) -> None:
    inputs = example(model)
    wanted = outputs(model, inputs)
    written = export_as(model, COLLATE, chosen(offers(model, COLLATE), "merged"), tmp_path / "deep" / "out")
    again = A2AModel.from_pretrained(written.folder)
    assert not any("extra" in name for name in again.state_dict())
    assert not again.parts.adapters
    torch.testing.assert_close(outputs(again, inputs), wanted)
    assert set(wanted) == {"number/values"}


def test_the_first_that_holds_everything_is_chosen() -> None:
    offered = [Offer("a", "", "it has wings", ()), Offer("b", "", "", ("heads.x",)), Offer("c", "", "", ())]
    assert chosen(offered, None).name == "c"
    assert chosen(offered, "b").name == "b"
    with pytest.raises(A2AError, match=r"(?s)all of this model\n  a: it has wings\n  b: it leaves out heads.x"):
        chosen(offered[:2], None)
    with pytest.raises(A2AError, match="cannot be written as `a`: it has wings"):
        chosen(offered, "a")


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    def fail() -> None:
        with placed(tmp_path / "out") as partial:
            partial.mkdir()
            (partial / "half").write_text("")
            raise KeyError

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("")
    with pytest.raises(KeyError):
        fail()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]


def test_differences_are_found() -> None:
    one, two = torch.tensor([1.0, 20.0]), torch.tensor([1.0, 20.1])
    assert apart(two, one) == pytest.approx(0.005, rel=1e-3)
    assert apart(one / 100, one / 100 + 1e-3) == pytest.approx(1e-3, rel=1e-3)
    assert apart(one[:1], one) == apart(one * float("nan"), one) == float("inf")
    assert apart(one[:0], one[:0]) == 0
    refuse_other({"a": one, "b": one}, {"a": one}, Path(), tied={"b"})
    with pytest.raises(RunFailed, match="missing: b; left over: c; changed: a"):
        refuse_other({"a": one, "b": one}, {"a": two, "c": one}, Path())
