"""Steps by the gradient cache are steps with all activations kept, whatever the model, the chunks and the ranks are."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import nn

HERE = Path(__file__).parent


@pytest.fixture
def accelerator() -> Iterator[Any]:
    """Made by precision; accelerate keeps the first one's settings for all others of a process."""

    def made(precision: str = "no") -> Accelerator:
        AcceleratorState._reset_state(True)
        return Accelerator(cpu=True, mixed_precision=precision)

    yield made
    AcceleratorState._reset_state(True)
    GradientState._reset_state()


@pytest.mark.parametrize(("rows", "tokens"), [(4, 0), (5, 0), (1, 0), (12, 0), (12, 20), (3, 12)])
def test_a_cached_step_is_an_uncached_one(step: Any, accelerator: Any, rows: int, tokens: int) -> None:
    """With dropout, missing modalities and labels, a learned parameter of the loss, and losses by sample on the same head."""
    model = step.built(step.DROPPED)
    share = step.chunks(model, step.samples(range(12)), rows, tokens)
    one, other = step.cached(model, share, accelerator(), model), step.uncached(model, share)
    assert step.difference(one, other) < 1e-12
    assert one.loss > 0
    assert all(float(gradient.abs().max()) > 1e-6 for gradient in one.gradients.values())
    assert one.gradients.keys() == {name for name, _ in model.named_parameters()}
    assert step.difference(one, step.cached(model, share, accelerator(), model, seed=12)) > 1e-3, "dropout is on"


def test_chunks_do_not_show(step: Any, accelerator: Any) -> None:
    """Without dropout, the step is that of one batch of all rows."""
    model = step.built(step.PLAIN)
    whole = step.uncached(model, step.chunks(model, step.samples(range(12)), 12))
    for rows in (1, 5):
        share = step.chunks(model, step.samples(range(12)), rows)
        assert step.difference(step.cached(model, share, accelerator(), model), whole) < 1e-12


def test_in_float32(step: Any, accelerator: Any) -> None:
    model = step.built(step.DROPPED, torch.float32)
    share = step.chunks(model, step.samples(range(12)), 3)
    assert step.difference(step.cached(model, share, accelerator(), model), step.uncached(model, share)) < 1e-4


def test_under_autocast(step: Any, accelerator: Any) -> None:
    """To the precision of bfloat16, and nearer than to the step in float32."""
    model = step.built(step.DROPPED, torch.float32)
    share = step.chunks(model, step.samples(range(12)), 3)
    exact = step.uncached(model, share)
    making = accelerator("bf16")
    wrapped = making.prepare_model(model)
    one = step.cached(model, share, making, wrapped)
    with torch.autocast("cpu", torch.bfloat16):
        other = step.uncached(model, share)
    assert step.difference(one, exact) > 0
    assert step.difference(one, other) < 0.02 * max(float(each.abs().max()) for each in exact.gradients.values())


def test_random_numbers_go_on(step: Any, accelerator: Any) -> None:
    """After a step the generator stands where one pass over all chunks leaves it."""
    model = step.built(step.DROPPED)
    share = step.chunks(model, step.samples(range(12)), 5)
    step.uncached(model, share)
    wanted = torch.rand(3)
    step.cached(model, share, accelerator(), model)
    assert torch.equal(torch.rand(3), wanted)


def test_each_chunk_but_one_is_computed_twice(step: Any, accelerator: Any) -> None:
    model = step.built(step.DROPPED)
    share = step.chunks(model, step.samples(range(12)), 3)
    passes: list[tuple[int, bool]] = []
    model.encoders["left"].register_forward_hook(
        lambda _, given, found: passes.append((len(found.values), found[0].requires_grad))
    )
    step.cached(model, share, accelerator(), model)
    assert [graph for _, graph in passes] == [False] * 3 + [True] * 4


class Shy(nn.Module):
    """A head whose outputs depend on no parameter where the batch is one row."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, fused: Any, inputs: Any, targets: Any = None) -> Any:
        found = self.inner(fused, inputs, targets)
        return {name: value.detach() if fused.size == 1 else value for name, value in found.items()}


def test_what_one_chunk_lacks_others_have(step: Any, accelerator: Any) -> None:
    """The chunk that is computed once is that of one row."""
    model = step.built(step.PLAIN)
    model.heads["number"] = Shy(model.heads["number"])
    share = step.chunks(model, step.samples(range(12)), 11)
    assert [chunk["inputs"]["size"] for chunk in share] == [11, 1]
    assert step.difference(step.cached(model, share, accelerator(), model), step.uncached(model, share)) < 1e-12


class Normed(nn.Module):
    """A batch norm over tokens."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.norm, self.width = inner, nn.BatchNorm1d(inner.width), inner.width

    def forward(self, **tensors: Any) -> Any:
        tokens = self.inner(**tensors)
        return tokens._replace(values=self.norm(tokens.values.transpose(1, 2)).transpose(1, 2))


def test_running_statistics_count_once(step: Any, accelerator: Any) -> None:
    model = step.built(step.PLAIN)
    model.encoders["left"] = Normed(model.encoders["left"]).double()
    share = step.chunks(model, step.samples(range(12)), 4)
    step.cached(model, share, accelerator(), model)
    assert int(model.encoders["left"].norm.num_batches_tracked) == len(share) == 3


def test_two_ranks(step: Any, tmp_path: Path) -> None:
    """Uneven shares, so different numbers of chunks: gradients agree with those that are averaged by hand, and with one rank's."""
    script, out = HERE / "cached_step.py", tmp_path / "found"
    command = [sys.executable, str(script), str(out), str(tmp_path / "store")]
    here = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # ranks meet in a file
    ranks = [
        subprocess.Popen([*command, str(rank), "2"], env=here | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    assert [process.wait(120) for process in ranks] == [0, 0]
    model = step.built(step.PLAIN)
    whole = step.uncached(model, step.chunks(model, step.samples(range(12)), 12))
    for rank in range(2):
        found = json.loads(out.with_suffix(f".{rank}").read_text())
        assert found["distributed"] == "DistributedType.MULTI_CPU"
        assert len(found["apart"]) == 4
        assert max(found["apart"]) < 1e-12
        gradients = {name: torch.tensor(each, dtype=torch.float64) for name, each in found["gradients"].items()}
        assert step.difference(step.Stepped(found["loss"], gradients), whole) < 1e-12
