import numpy as np
import pytest


@pytest.fixture
def noise():
    """Float32 noise of so many samples, the same every time."""

    def make(samples, channels=0):
        shape = (samples, channels) if channels else samples
        return np.random.default_rng(samples).uniform(-0.5, 0.5, shape).astype(np.float32)

    return make
