"""The generators that a forward pass draws from, set back for a second one."""

from __future__ import annotations

import random
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor


class RandomState(NamedTuple):
    """Where torch's generators (CPU and device), numpy's (transformers masks sounds by it) and Python's stand."""

    cpu: Tensor
    device: Tensor | None
    numpy: Any
    python: Any

    @classmethod
    def here(cls, device: torch.device) -> Self:
        """As they are now."""
        own = None if device.type == "cpu" else torch.get_device_module(device).get_rng_state()
        return cls(torch.get_rng_state(), own, np.random.get_state(), random.getstate())

    def restore(self, device: torch.device) -> None:
        """As they were then."""
        torch.set_rng_state(self.cpu)
        if self.device is not None:
            torch.get_device_module(device).set_rng_state(self.device)
        np.random.set_state(self.numpy)
        random.setstate(self.python)
