"""Sound that is decoded already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from a2a_audio.opening import Samples

MAX_CHANNELS = 64


class SampleArray:
    """A Recording of samples (n,) or (n, channels): floats, or integers, which are scaled to ±1."""

    def __init__(self, array: Any, rate: Any) -> None:
        samples = np.asarray(array)
        if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)) or rate <= 0:
            raise ValueError(f"the sample rate must be a whole number of Hz above 0, got {rate!r}")
        if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 1 <= samples.shape[1] <= MAX_CHANNELS):
            raise ValueError(f"samples must have the shape (samples,) or (samples, channels), got {samples.shape}")
        self.samples = samples if samples.ndim == 2 else samples[:, None]
        self.rate, self.frames = int(rate), len(samples)

    def read(self, first: int, last: int) -> Samples:
        """See Recording."""
        return as_float(self.samples[first:last])


def as_float(samples: Any) -> Samples:
    """Integers to ±1 by their type's range, as libsndfile does."""
    if samples.dtype not in (np.uint8, np.int8, np.int16, np.int32) and not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(f"samples must be float, uint8, int8, int16 or int32, got {samples.dtype}")
    floats: Samples = samples.astype(np.float32, copy=False)
    if samples.dtype == np.uint8:
        return floats / np.float32(128) - 1
    return floats / np.float32(-float(np.iinfo(samples.dtype).min)) if samples.dtype.kind == "i" else floats
