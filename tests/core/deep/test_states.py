"""What optimizers keep, against real ones."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from a2a_core.deep.states import measure

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "fused adamw": lambda every: torch.optim.AdamW(every, fused=True),
    "amsgrad": lambda every: torch.optim.AdamW(every, amsgrad=True),
    "sgd": torch.optim.SGD,
    "momentum": lambda every: torch.optim.SGD(every, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "adafactor, which looks at values": torch.optim.Adafactor,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_states_are_those_of_a_real_step(toy: Any, name: str) -> None:
    make = OPTIMIZERS[name]
    found = measure(toy.fakes, toy.fake, lambda model: make(list(model.parameters())))
    real = make(list(toy.real.parameters()))
    for parameter in toy.real.parameters():
        parameter.grad = torch.ones_like(parameter)
    real.step()
    kept = [value for state in real.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
    assert found.kept == sum(tensor.untyped_storage().nbytes() for tensor in kept)


def test_a_step_passes_memory(toy: Any) -> None:
    largest = max(parameter.numel() * 4 for parameter in toy.fake.parameters())
    found = measure(toy.fakes, toy.fake, lambda model: torch.optim.AdamW(model.parameters()))
    assert largest <= found.passing <= 3 * largest, "one parameter after another, on the CPU"
    assert all(parameter.grad is None for parameter in toy.fake.parameters())
