"""A series to the features of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from a2a_core import Item, Segment
from a2a_timeseries.reading import TICK, Floats, Layout, Observations, read_series
from a2a_timeseries.transform import transform

CONSTANT = 1e-9
"""A deviation below this fraction of the largest value is rounding: the channel is constant."""


class SeriesProcessor:
    """A series, or a Segment of one -> Item: `features` (T, F) and `positions` (T,), the windows' numbers, whole.

    Times are used here alone, in float64, and positions are integers: no arithmetic of the model's makes them less exact.
    """

    deterministic = True

    def __init__(
        self,
        layout: Layout,
        patch_size: int,
        fixed: tuple[tuple[float, ...], tuple[float, ...]] | None,
        max_length: int | None,
        overlong: Literal["refuse", "first", "last"],
    ) -> None:
        self.layout, self.patch_size, self.fixed = layout, patch_size, fixed
        self.max_length, self.overlong = max_length, overlong

    def __call__(self, raw: Any) -> Item:
        """Read, cut, divide into windows, normalise, transform; ValueError for what cannot be read."""
        segment = raw if isinstance(raw, Segment) else Segment(raw)
        recording = read_series(segment.medium, self.layout)
        measured = recording.between(*segment.within(recording.duration))
        with np.errstate(over="ignore", invalid="ignore"):
            return self.item(measured)

    def item(self, measured: Observations) -> Item:
        """Windows to tokens; ValueError where there are too many, or numbers too large for float32."""
        steps = measured.seconds * self.layout.sample_rate
        windows = np.floor((steps + TICK) / self.patch_size).astype(np.int64)
        kept = self.limited(np.unique(windows))
        inside = (windows >= kept[0]) & (windows <= kept[-1])
        windows, channels = windows[inside], measured.channels[inside]
        values, level = self.normalized(channels, measured.values[inside])

        size, count = self.patch_size, self.layout.channels
        groups = np.searchsorted(kept, windows) * count + channels
        found = transform(groups, steps[inside] / size - windows, values, len(kept) * count, size)
        features = np.concatenate([found.reshape(len(kept), -1), level[None].repeat(len(kept), 0)], 1).astype(np.float32)
        if not np.isfinite(features).all():
            raise ValueError("the series has values that are too large for float32")
        positions = kept - kept[0] if self.overlong == "last" else kept
        return Item({"features": torch.from_numpy(features), "positions": torch.from_numpy(positions)}, len(kept))

    def limited(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The windows that are kept of those in which something was measured."""
        if self.max_length is None or len(windows) <= self.max_length:
            return windows
        if self.overlong == "refuse":
            raise ValueError(f"the series makes {len(windows)} tokens, more than `max_length` = {self.max_length}")
        return windows[: self.max_length] if self.overlong == "first" else windows[-self.max_length :]

    def normalized(self, channels: NDArray[np.int64], values: Floats) -> tuple[Floats, Floats]:
        """Values; and their level, all means and all deviations as logarithms, where these are the series' own."""
        if self.fixed is not None:
            mean, std = (np.broadcast_to(np.array(each), self.layout.channels) for each in self.fixed)
            return (values - mean[channels]) / std[channels], np.zeros(0)
        mean, std = np.zeros(self.layout.channels), np.ones(self.layout.channels)
        for channel in np.unique(channels):
            own = values[channels == channel]
            mean[channel], deviation = own.mean(), own.std()
            if deviation > CONSTANT * np.abs(own).max():
                std[channel] = deviation
        return (values - mean[channels]) / std[channels], np.concatenate(
            [np.sign(mean) * np.log10(1 + np.abs(mean)), np.log10(std)]
        )

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """`features` (N, T, F), `positions` (N, T) and `mask` (N, T), true where a token is real."""
        lengths = torch.tensor([item.length for item in items])
        padded = {name: pad_sequence([item.tensors[name] for item in items], batch_first=True) for name in items[0].tensors}
        return {**padded, "mask": torch.arange(int(lengths.max())) < lengths[:, None]}

    def dummy(self) -> Item:
        """One zero in each channel."""
        count = self.layout.channels
        return self.item(Observations(np.zeros(count), np.arange(count), np.zeros(count)))
