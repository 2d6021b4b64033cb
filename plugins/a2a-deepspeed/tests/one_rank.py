"""As a script, one rank of two: what is asked of a model that ZeRO holds, beside the same model that is whole."""

import sys
from typing import Any

import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn

from a2a_core import A2AError, RunFailed
from a2a_core.holding import Holding
from a2a_deepspeed.zero import DeepSpeedBackend

ROWS = torch.arange(24.0).sin().view(8, 3)
CLIPPED = 0.005
"""Less than the norm of any of the gradients here."""


class Toy(nn.Module):
    """Sizes that do not divide by two ranks, a number, a part that is frozen, one that is trained later, and a tied one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.fusion = nn.Linear(3, 5), nn.Linear(5, 3)
        self.frozen = nn.Linear(3, 3).requires_grad_(False)
        self.later = nn.Linear(3, 1)
        self.losses = nn.ParameterDict({"scale": nn.Parameter(torch.ones(1))})
        self.tied = self.first
        self.thaws: dict[str, float] = {}
        self.all_tied_weights_keys = {"tied.weight": "first.weight", "tied.bias": "first.bias"}

    def forward(self, rows: Tensor) -> Tensor:
        """One number a row."""
        return self.later(self.frozen(self.fusion(self.first(rows).tanh()))).squeeze(-1) * self.losses["scale"]


def built() -> Any:
    torch.manual_seed(0)
    return Toy()


def groups(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    late = list(model.later.parameters())  # type: ignore[union-attr, operator]
    rest = [each for each in model.parameters() if each.requires_grad and not any(each is one for one in late)]
    return {"rest": rest, "late": late}


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    several = [{"params": each, "lr": 0.01 * (1 + n)} for n, each in enumerate(groups(model).values())]
    return torch.optim.AdamW(several, weight_decay=0.1, eps=1e-3)


class Trainer:
    """What a training loop does, with a Holding."""

    def __init__(self, backend: DeepSpeedBackend | None) -> None:
        self.accelerator = Accelerator(cpu=True)
        self.model = built()
        self.shared = backend is not None
        self.holding: Any = (
            Holding(self.model, self.accelerator) if backend is None else backend.holding(self.model, self.accelerator)
        )
        self.holding.wrap()
        self.optimizer = self.accelerator.prepare(optimizer(self.model))
        self.holding.begin(self.model, self.optimizer)

    def backward(self, spoiled: bool = False) -> None:
        """All rows at once, or two passes of two rows on each rank."""
        parts = [ROWS] if not self.shared else ROWS.view(2, 2, 2, 3)[:, dist.get_rank()]
        for part in parts:
            loss = self.holding.wrapped(part).square().sum() / len(ROWS) * (2 if self.shared else 1)
            self.accelerator.backward(loss * (torch.nan if spoiled and dist.get_rank() == 1 else 1.0))

    def step(self, drop: bool = False) -> dict[str, float]:
        self.backward()
        if drop:
            self.holding.drop(groups(self.model)["late"])
        norms = self.holding.norms(groups(self.model))
        self.holding.clip(self.model.parameters(), torch.nn.utils.get_total_norm(list(norms.values())), CLIPPED)
        self.optimizer.step()
        self.model.zero_grad()
        return {name: float(norm) for name, norm in norms.items()}

    def weights(self) -> dict[str, Tensor]:
        """Whole, on every rank."""
        box = [{name: each.clone() for name, each in self.holding.weights().items()}]
        dist.broadcast_object_list(box)
        return box[0]

    def state(self) -> dict[str, Any]:
        """The optimizer's, of all ranks."""
        found: list[Any] = [None, None]
        dist.all_gather_object(found, {name: each.clone() for name, each in self.holding.state().items()})
        assert not found[0].keys() & found[1].keys()
        return found[0] | found[1]


def close(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(torch.as_tensor(found[name]), torch.as_tensor(value), msg=name, atol=1e-6, rtol=1e-5)


def check(backend: DeepSpeedBackend) -> None:
    """Three steps, the first without what is trained later; then on from there, and from what is no number."""
    plain, held = Trainer(None), Trainer(backend)
    assert set(held.holding.unreached()) == {name for name, each in held.model.named_parameters() if each.requires_grad}
    for drop in (True, False, False):
        wanted = plain.step(drop)
        assert wanted.keys() == ({"rest"} if drop else {"rest", "late"})
        close(held.step(drop), wanted)
    assert held.holding.unreached() == []
    weights, state = plain.weights(), plain.holding.state()
    close(held.weights(), weights)
    box = [state]
    dist.broadcast_object_list(box)
    state = box[0]
    assert float(state["first.weight.step"]) == 3.0
    assert float(state["later.weight.step"]) == 2.0
    close(held.state(), state)
    go_on(backend, weights, state, plain)
    before = held.weights()
    held.backward(spoiled=True)
    assert not torch.isfinite(held.holding.norms(groups(held.model))["rest"])
    assert set(held.holding.unsound()) == {name for name, each in held.model.named_parameters() if each.requires_grad}
    for parameter in held.model.parameters():
        parameter.grad = None
    held.optimizer.step()
    close(held.weights(), before)
    held.holding.load_weights(weights)
    close(held.weights(), weights)


def go_on(backend: DeepSpeedBackend, weights: dict[str, Tensor], state: dict[str, Any], plain: Trainer) -> None:
    """From the weights and the state of another backend, a step is what it is there."""
    again = Trainer(None)
    again.model.load_state_dict(weights)
    again.optimizer.optimizer.load_state_dict(plain.optimizer.optimizer.state_dict())
    other = Resumed(backend, weights)

    def read(made: dict[str, Tensor]) -> None:
        for name, tensor in made.items():
            tensor.copy_(state[name])

    there = {name: (each.shape, each.dtype) for name, each in state.items()}
    other.holding.restore(there, {}, read)
    close(other.step(), again.step())
    close(other.weights(), again.weights())
    if backend.stage:
        torn = {name: shape for name, shape in there.items() if not name.startswith("fusion.")}
        with pytest.raises(RunFailed, match=r"and none of `fusion\.weight`, and ZeRO updates both as one"):
            Resumed(backend, weights).holding.restore(torn, {}, read)
        state = state | {"fusion.weight.step": torch.tensor(1.0)}
        with pytest.raises(RunFailed, match="was trained for another number of steps"):
            Resumed(backend, weights).holding.restore(there, {}, lambda made: [made[n].copy_(state[n]) for n in made] and None)


class Resumed(Trainer):
    """Begun with other weights."""

    def __init__(self, backend: DeepSpeedBackend, weights: dict[str, Tensor]) -> None:
        global built
        before = built

        def loaded() -> Any:
            model = before()
            model.load_state_dict(weights)
            return model

        built = loaded
        try:
            super().__init__(backend)
        finally:
            built = before


def check_refusals() -> None:
    """What is only seen once DeepSpeed has made its groups, and what it does not take itself."""
    backend = DeepSpeedBackend(processes=2, device="cpu")
    holding: Any = backend.holding(built(), Accelerator(cpu=True))
    holding.model.thaws = {"fusion.weight": 3.0}
    prepared = holding.accelerator.prepare(optimizer(holding.model))
    with pytest.raises(A2AError, match=r"ZeRO updates `first\.weight` and `fusion\.weight` as one"):
        holding.begin(holding.model, prepared)
    holding = backend.holding(built(), Accelerator(cpu=True))
    holding.settings["zero_optimization"]["reduce_bucket_size"] = -1
    with pytest.raises(A2AError, match="does not take its settings: `reduce_bucket_size`: Input should be greater than 0"):
        holding.begin(holding.model, holding.accelerator.prepare(optimizer(holding.model)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2)
    for options in (
        {"stage": 0},
        {"stage": 1},
        {"stage": 2, "offload_optimizer": True},
        {"stage": 3},
        {"stage": 3, "offload_optimizer": True, "offload_parameters": True},
    ):
        print(options, flush=True)
        check(DeepSpeedBackend(processes=2, device="cpu", **options))
    check_refusals()
    dist.destroy_process_group()
