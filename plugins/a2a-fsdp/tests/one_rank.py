"""As a script, one rank of two: what a divided model computes, and what is asked of it, beside the same model that is whole."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import divided_toy as toy
import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import Trainer

from a2a_core import RunFailed
from a2a_core.holding import Holding
from a2a_core.model import A2AModel
from a2a_fsdp.fsdp import FsdpBackend
from a2a_fsdp.holding import FsdpHolding, like
from a2a_fsdp.units import Units

ROWS, SHARES = range(8), ((range(1), range(1, 3)), (range(3, 6), range(6, 8)))
"""Of a step, and of each rank's two passes; in the first one of the first rank `left` is missing."""
SCALE = 1 / len(ROWS)


def loss(model: A2AModel, rows: range, scale: float) -> Tensor:
    """Of some rows."""
    batch = toy.batch(model, rows)
    output = model(batch["inputs"], batch["targets"], ("fit",))
    return output.anchor + scale * output.totals["fit/scaled"]


def whole(tensor: Tensor) -> Tensor:
    """All of it, on every rank."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@contextmanager
def exchanged() -> Iterator[dict[str, int]]:
    """How many numbers FSDP gathers meanwhile, and how many of gradients it hands in."""
    found = {"all_gather_single": 0, "reduce_scatter_single": 0}
    given = {name: getattr(dist, name) for name in found}

    def counted(name: str) -> Any:
        def call(*tensors: Tensor, **named: Any) -> Any:
            found[name] += max(each.numel() for each in (*tensors, *named.values()) if isinstance(each, Tensor))
            return given[name](*tensors, **named)

        return call

    dist.all_gather_single, dist.reduce_scatter_single = (counted(name) for name in found)
    yield found
    dist.all_gather_single, dist.reduce_scatter_single = given.values()


def padded(model: A2AModel) -> int:
    """The numbers of all shares: rows are dealt out in equal shares, filled up with nothing."""
    shares = [each for each in model.parameters() if isinstance(each, DTensor)]
    return sum(-(-each.shape[0] // 2) * 2 * each[0].numel() for each in shares)


def main(rank: int, store: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    accelerator = Accelerator(cpu=True)
    reference, model = toy.built(), toy.built()
    if rank:
        model.heads["number"].linear.weight.data.zero_()  # the first rank's counts
    held = Holding(reference, accelerator)
    held.begin(reference, torch.optim.AdamW([each for each in reference.parameters() if each.requires_grad], lr=0.1))
    holding = FsdpHolding(FsdpBackend(processes=2, device="cpu"), model, accelerator)
    assert holding.wrap()
    Trainer._sync_replicated_trainable_parameters(SimpleNamespace(accelerator=accelerator), model)
    trained = [each for each in model.parameters() if each.requires_grad]
    holding.begin(model, torch.optim.AdamW([{"params": trained}], lr=0.1))
    check_shares(model, holding)
    check_gradients(model, holding, reference, held, rank)
    check_update(model, holding, held, rank)
    check_restored(model, holding, held)
    check_whole(model, holding)
    check_unsound(model, holding, rank)
    dist.destroy_process_group()


def check_shares(model: A2AModel, holding: FsdpHolding) -> None:
    """What is trained is divided, but for a number; what is frozen is not; what went wrong would be said."""
    kinds = {name: isinstance(each, DTensor) for name, each in model.named_parameters()}
    assert kinds == {name: not name.startswith("encoders.right.") and name != "losses.fit.scale" for name in kinds}
    assert model.heads["number"].linear.weight.to_local().shape[0] == (1 if dist.get_rank() == 0 else 0)
    with pytest.raises(RunFailed, match=r"`encoders.right.*` was to be sharded over 2 ranks, and lies on 1"):
        holding.refuse_whole(Units([], set()))
    assert type(model).__name__ == holding.config.wanted()["wrapper"]


def check_gradients(model: A2AModel, holding: FsdpHolding, reference: A2AModel, held: Holding, rank: int) -> None:
    """Of two passes each they are those of all rows at once; norms, too, and what clips to them."""
    loss(reference, ROWS, SCALE).backward()
    first, last = SHARES[rank]
    with exchanged() as numbers:
        accelerator_sync(holding, False)
        with holding.no_sync():
            loss(model, first, 2 * SCALE).backward()
        assert not numbers["reduce_scatter_single"]
        accelerator_sync(holding, True)
        loss(model, last, 2 * SCALE).backward()
    assert holding.unreached() == held.unreached() == []
    assert numbers["reduce_scatter_single"] == padded(model), "once, and nothing of what is frozen"
    wanted = {name: each.grad for name, each in reference.named_parameters()}
    for name, each in model.named_parameters():
        assert (each.grad is None) == (wanted[name] is None), name
        if each.grad is not None:
            torch.testing.assert_close(whole(each.grad), wanted[name], msg=name)
    parts = ("encoders.left.", "fusion.", "heads.", "losses.", "encoders.right.")
    groups = {part: [each for name, each in model.named_parameters() if name.startswith(part)] for part in parts}
    others = {part: [each for name, each in reference.named_parameters() if name.startswith(part)] for part in parts}
    found, norms = holding.norms(groups), held.norms(others)
    assert list(found) == list(norms) == list(parts[:-1])
    for part, norm in norms.items():
        torch.testing.assert_close(found[part], norm.float())
    total, most = torch.nn.utils.get_total_norm(list(norms.values())), 0.5
    held.clip(reference.parameters(), total, most)
    holding.clip(model.parameters(), total, most)
    clipped = holding.norms({"": list(model.parameters())})[""]
    torch.testing.assert_close(clipped, torch.tensor(most), atol=1e-4, rtol=1e-4)
    seen = [torch.zeros(toy.WIDTH) for _ in range(2)]
    dist.all_gather(seen, model.encoders["left"].seen)
    assert torch.equal(*seen), "the first rank's statistics"
    assert holding.buffers is not None
    assert holding.buffers.changing == ["encoders.left.seen"]


def accelerator_sync(holding: FsdpHolding, last: bool) -> None:
    holding.accelerator.gradient_state._set_sync_gradients(last)


def check_update(model: A2AModel, holding: FsdpHolding, held: Holding, rank: int) -> None:
    """A step moves weights to where it moves them without shares; its state has the same names, none of frozen parameters."""
    for each in (holding, held):
        assert each.optimizer is not None
        each.optimizer.step()
        each.optimizer.zero_grad()
    with torch.no_grad():
        loss(model, ROWS, SCALE)  # which leaves weights gathered
    found, wanted = holding.weights(), held.weights()
    assert list(found) == ([] if rank else list(held.model.state_dict()))
    for name, each in found.items():
        if "seen" not in name:
            torch.testing.assert_close(each, wanted[name], msg=name, atol=2e-4, rtol=1e-4)
    state, other = holding.state(), held.state()
    names = set(other) if rank == 0 else {f"{name}.{key}" for name in trained(model) for key in ("exp_avg", "exp_avg_sq")}
    assert set(state) == names - ({f"losses.fit.scale.{key}" for key in ("exp_avg", "exp_avg_sq")} if rank else set())
    assert not any(name.startswith("encoders.right.") for name in state)


def trained(model: A2AModel) -> list[str]:
    return [name for name, each in model.named_parameters() if each.requires_grad]


def check_restored(model: A2AModel, holding: FsdpHolding, held: Holding) -> None:
    """State and weights that were whole come back divided, bit for bit."""
    saved = {f"{name}.{key}": value for name, state in held._held() for key, value in state.items()}
    saved = {name: torch.randn_like(each) for name, each in saved.items()}
    for each in saved.values():
        dist.broadcast(each, 0)

    def read(made: dict[str, Tensor]) -> None:
        for name, each in made.items():
            each.copy_(like(each, saved[name]))

    holding.restore({name: (each.shape, each.dtype) for name, each in saved.items()}, {}, read)
    for name, each in saved.items():
        parameter, _, key = name.rpartition(".")
        mine = holding.optimizer.state[dict(model.named_parameters())[parameter]][key]  # type: ignore[union-attr]
        assert torch.equal(whole(mine), each), name
    first = toy.built().state_dict()
    holding.load_weights(first)
    assert all(torch.equal(whole(each), first[name]) for name, each in model.state_dict().items())


def check_whole(model: A2AModel, holding: FsdpHolding) -> None:
    """Losses' parameters are there between forward and backward, as the gradient cache wants them; then all are shares again."""
    computed = loss(model, ROWS, SCALE)
    bias = model.losses["fit"].bias
    assert not isinstance(bias, DTensor)
    (gradient,) = torch.autograd.grad((bias * 3).sum(), bias)
    (computed + (bias * gradient).sum()).backward()
    assert all(isinstance(each, DTensor) for part in (model.heads, model.fusion) for each in part.parameters())
    assert not any(isinstance(each, DTensor) for each in model.encoders["right"].parameters())
    found = whole(model.losses["fit"].bias.grad)
    holding.drop(model.parameters())
    loss(model, ROWS, SCALE).backward()
    torch.testing.assert_close(found, whole(model.losses["fit"].bias.grad) + 3)


def check_unsound(model: A2AModel, holding: FsdpHolding, rank: int) -> None:
    """Every rank names what one rank's share has."""
    weight = model.encoders["left"].layers[0].first.weight
    if rank == 1:
        weight.grad.to_local()[0, 0] = torch.nan
    assert holding.unsound() == ["encoders.left.layers.0.first.weight"]
    holding.drop([weight])
    assert holding.unreached() == ["encoders.left.layers.0.first.weight"]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
