"""Adapters in whole runs: what is trained later, whose mistake it is, and going on with others."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from a2a_core.model import A2AModel
from a2a_core.runs import Run

FREEZE = """
[[adapters]]
use = "freeze"
match = ["encoders.image.*"]
until = {until}
"""
LORA = """
[[adapters]]
use = "lora"
part = "encoders.image"
r = {r}
"""
STEPS = ("--set", "trainer.save='steps'", "--set", "trainer.save_every=1", "--set", "trainer.keep_last=0")


def adapted(place: Any, text: str) -> None:
    """The recipe with adapters."""
    place.recipe.write_text(place.recipe.read_text().partition("\n[[adapters]]")[0] + text)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: each for name, each in load_file(folder / "model.safetensors").items() if name.startswith("encoders.image")}


def broken_off(run: Run, step: int) -> None:
    """As a run that was killed after a step."""
    shutil.rmtree(run.model, ignore_errors=True)
    for each in run.checkpoints.glob("checkpoint-*"):
        if int(each.name.partition("-")[2]) > step:
            shutil.rmtree(each)
    run.update(status="interrupted")


@pytest.mark.parametrize(("until", "step"), [("3", 3), ("0.5", 3)])
def test_what_is_frozen_until_a_step_is_trained_from_then_on(place: Any, until: str, step: int) -> None:
    """Six steps; with weight decay, which must not touch it before. Killed on either side of the step: bit for bit the same."""
    adapted(place, FREEZE.format(until=until))
    place.run("train", "recipe.toml", "--out", "run", "--set", "trainer.weight_decay=0.1", *STEPS)
    run = Run(place.folder / "run")
    first, last, after = (weights(run.checkpoints / f"checkpoint-{each}") for each in (1, step, step + 1))
    assert all(torch.equal(first[name], last[name]) for name in first)
    moved = [name for name in first if not torch.equal(last[name], after[name])]
    assert len(moved) == len(first), "all of it, from the very next step"
    whole = (run.model / "model.safetensors").read_bytes()
    for killed in (step - 1, step + 1):
        broken_off(run, killed)
        place.run("train", "--resume", "run")
        assert (run.model / "model.safetensors").read_bytes() == whole
    again = A2AModel.from_pretrained(run.model)
    assert all(parameter.requires_grad for parameter in again.encoders["image"].parameters())
    assert len(again.thaws) == len(first)


def test_the_deep_check_tells_when(place: Any) -> None:
    adapted(place, FREEZE.format(until="0.25"))
    output = place.run("check", "--deep", "recipe.toml").output
    assert "frozen at first, and trained after 25% of all steps" in output


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("encoders.image.freeze=true",), "is frozen until a step by an adapter, and is frozen for ever, too"),
        (("trainer.epochs=1",), "frozen until step 5, and the run has 3"),
    ],
)
def test_what_would_never_thaw_is_refused(place: Any, sets: tuple[str, ...], message: str) -> None:
    adapted(place, FREEZE.format(until="5"))
    output = place.run("train", "recipe.toml", *(word for each in sets for word in ("--set", each)), code=2).output
    assert message in output
    assert "Traceback" not in output


@pytest.mark.parametrize(("until", "kept"), [("0", True), ("3", False)])
def test_features_are_not_kept_of_what_is_trained_later(place: Any, until: str, kept: bool) -> None:
    adapted(place, FREEZE.format(until=until))
    place.run("train", "recipe.toml", "--out", "run")
    assert ("image" in Run(place.folder / "run").state.get("features", {})) is kept


def test_an_adapters_mistake_has_its_line(place: Any) -> None:
    adapted(place, FREEZE.format(until="0") + LORA.format(r=4).replace("r = 4", 'targets = [\n    "qery",\n]'))
    output = place.run("train", "recipe.toml", code=2).output
    line = next(number for number, text in enumerate(place.recipe.read_text().splitlines(), 1) if "qery" in text)
    assert "[[adapters]] the pattern `qery` fits no linear layer of `encoders.image`" in output
    assert f"recipe.toml:{line}" in output
    assert output.strip() in place.run("check", "--deep", "recipe.toml", code=2).output
    ranks = ("--set", "backend.use=ddp", "--set", "backend.processes=2")
    assert output.strip() in place.run("train", "recipe.toml", *ranks, code=2).output, "ranks read the run's own recipe"


def test_going_on_with_another_adapter_is_refused(place: Any) -> None:
    adapted(place, LORA.format(r=2))
    place.run("train", "recipe.toml", "--out", "runs/mine", *STEPS)
    run = Run(place.folder / "runs" / "mine")
    broken_off(run, 4)
    before = sorted(run.checkpoints.iterdir())
    for text in (LORA.format(r=4), LORA.format(r=2) + FREEZE.format(until="0"), ""):
        adapted(place, text)
        output = place.run("train", "--resume", "recipe.toml", code=2).output
        assert "the checkpoint holds the model as it was built" in output
        assert "adapters" in output
    filled = run.recipe.read_text()
    assert "\nr = 2 " in filled
    run.recipe.write_text(filled.replace("\nr = 2 ", "\nr = 4 "))
    output = place.run("train", "--resume", "mine", code=2).output
    assert "`adapters` of the recipe are not those that" in output
    assert "checkpoint-4" in output
    assert sorted(run.checkpoints.iterdir()) == before
    run.recipe.write_text(filled)
    adapted(place, LORA.format(r=2))
    place.run("train", "--resume", "recipe.toml")
    assert json.loads((run.folder / "run.json").read_text())["status"] == "done"


QLORA = LORA.replace('"lora"', '"qlora"')


def test_four_bits_without_bitsandbytes(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    adapted(place, QLORA.format(r=2))
    output = place.run("train", "recipe.toml", code=2).output
    assert "the adapter `qlora` needs bitsandbytes" in output
    assert 'pip install "a2a-peft[qlora]"' in output
    assert "recipe.toml:" in output
    assert not (place.folder / "runs").exists() or not any((place.folder / "runs").iterdir())


def test_four_bits_from_training_to_export(place: Any) -> None:
    """In a process of its own: what bitsandbytes says when it is imported must not reach the user."""
    pytest.importorskip("bitsandbytes")
    adapted(place, QLORA.format(r=2))
    said, told = place.shell("train", "recipe.toml", "--out", "runs/mine", *STEPS).communicate(timeout=300)
    assert "kernels" not in said + told
    run = Run(place.folder / "runs" / "mine")
    assert run.status == "done"
    packed = weights(run.model)
    assert any(name.endswith(".packed") for name in packed)
    whole = (run.model / "model.safetensors").read_bytes()
    broken_off(run, 4)
    place.run("train", "--resume", "mine")
    assert (run.model / "model.safetensors").read_bytes() == whole
    place.run("export", "mine", "-o", "out", "--format", "merged")
    merged, model = weights(place.folder / "out"), A2AModel.from_pretrained(run.model)
    assert not any("lora_" in name or name.endswith((".packed", ".scales")) for name in merged)
    layers = {name: each for name, each in model.named_modules() if hasattr(each, "lora_A")}
    assert layers
    for name, layer in layers.items():
        (down,), (up,) = (getattr(layer, each).values() for each in ("lora_A", "lora_B"))
        wanted = layer.base_layer.weight_as(torch.float32) + 16 * up.weight @ down.weight
        torch.testing.assert_close(merged[f"{name}.weight"], wanted.detach())
