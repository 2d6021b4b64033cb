"""The `series` encoder: channels of sensors, sampled regularly or not, to tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from a2a_core import RecordingConfig, option

if TYPE_CHECKING:
    from typing import Self

    from torch import nn

    from a2a_timeseries.series_processor import SeriesProcessor


class SeriesEncoder(RecordingConfig):
    """Sensor channels to tokens: the Fourier transform of each patch at the real times, then a small transformer.

    Time is cut into windows of `patch_size / sample_rate` seconds, as in t-PatchGNN (ICML 2024). A window becomes a token by
    the Fourier coefficients of what was measured in it: harmonics 0 to `patch_size / 2` of the window, each the mean over a
    channel's values at their own times. So nothing is interpolated, and channels need not be sampled together. Beside them
    stand the same coefficients of *where* there are values, and how many (the indicator of missing values, arXiv 1606.01865).
    On a regular grid the transform is orthonormal: with the linear layer behind it, it is the patch embedding of PatchTST
    (arXiv 2211.14730), all channels in one token. Tokens carry their window's number as sines and cosines (arXiv 1706.03762,
    section 3.5) and pass through pre-norm layers.

    Shapes: `features` (N, T, F) and `positions` (N, T) to (N, T, width). A series has one token for each window in which
    something was measured: ceil(steps / patch_size) of a regular one without gaps. F = 2 channels x patch_size, and two more
    a channel with `normalize = "series"`.

    Values in the row (`reads = "value"`): `[0.1, null, 0.3]` is one channel; `[[0.1, 9.8], [0.2, 9.7]]` steps of two;
    `{x = [...], y = [...]}` channels by name. With timestamps: `{time = [...], values = ...}`, `{time = [...], x = [...]}`,
    or each channel with its own, `{x = {time = [...], values = [...]}}`. Files: `.csv` with a line of names, or without;
    `.npy`, plain or of a structured type. NaN, null and an empty cell are missing values. Timestamps are numbers or dates
    (ISO 8601), in any order. The seconds of a segment count from the first timestamp.

    `normalize = "series"` takes each channel to mean 0 and deviation 1 over its own values, and tells every token their mean m,
    as sign(m) log10(1 + |m|), and log10 of the deviation, after Lag-Llama (arXiv 2310.08278): a shape is the same whatever its
    level and scale. `"fixed"` uses `mean` and `std`.
    """

    name: ClassVar[str] = "series"
    modality: ClassVar[str] = "timeseries"

    reads: Literal["value", "file"] = option(  # an option, where other encoders settle it: both are common
        'what the row\'s field holds: the values, or ("file") the path of a file with them', default="file"
    )
    channels: tuple[str, ...] | int = option("the channels' names in tables and columns, or how many", default=1, ge=1)
    sample_rate: float = option(
        "steps a second, Hz: exactly of series without timestamps, about of those with them", default=1.0, gt=0
    )
    time: str = option("name of the column or key that holds timestamps, where there is one", default="time")
    time_unit: float = option("seconds in one unit of numeric timestamps: 0.001 for milliseconds", default=1.0, gt=0)
    patch_size: int = option("steps of a patch, which becomes a token", default=16, ge=1)
    normalize: Literal["series", "fixed"] = option("by each series' own mean and deviation, or by fixed ones", default="series")
    mean: tuple[float, ...] = option('of `normalize = "fixed"`: one number, or one a channel', default=(0.0,))
    std: tuple[float, ...] = option('of `normalize = "fixed"`: one number, or one a channel', default=(1.0,), gt=0)
    max_length: int | None = option("most tokens of a series (none: any number)", default=None, ge=1)
    overlong: Literal["refuse", "first", "last"] = option(
        "a series above `max_length` is a bad row, or its first or last tokens are kept", default="refuse"
    )
    width: int = option("channels of a token", default=128, ge=2)
    layers: int = option("transformer layers", default=2, ge=0)
    num_heads: int = option("attention heads of a layer; divides `width`", default=4, ge=1)
    dropout: float = option("dropout rate", default=0.1, ge=0, lt=1)

    @property
    def num_channels(self) -> int:
        """How many."""
        return self.channels if isinstance(self.channels, int) else len(self.channels)

    def check(self) -> None:
        """ValueError for options that contradict one another."""
        if not isinstance(self.channels, int):
            if not self.channels or len(set(self.channels)) < len(self.channels) or "" in self.channels:
                raise ValueError(f"`channels` = {list(self.channels)} must be names, each once")
            if self.time in self.channels:
                raise ValueError(f"`{self.time}` holds timestamps and cannot be one of `channels`: set `time`")
        if self.width % self.num_heads:
            raise ValueError(f"`width` = {self.width} must be a multiple of `num_heads` = {self.num_heads}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.num_channels):
                raise ValueError(f"`{name}` must hold one number, or one for each of {self.num_channels} channels")
        if self.normalize == "series" and (self.mean, self.std) != ((0.0,), (1.0,)):
            raise ValueError('`mean` and `std` are those of `normalize = "fixed"`')

    def processor(self) -> SeriesProcessor:
        """Series to `features` and `positions`."""
        from a2a_timeseries.reading import Layout
        from a2a_timeseries.series_processor import SeriesProcessor

        names = None if isinstance(self.channels, int) else self.channels
        layout = Layout(self.num_channels, names, self.sample_rate, self.time, self.time_unit, self.reads == "file")
        fixed = None if self.normalize == "series" else (self.mean, self.std)
        return SeriesProcessor(layout, self.patch_size, fixed, self.max_length, self.overlong)

    def build(self) -> nn.Module:
        """The module with random weights."""
        from a2a_timeseries.series_model import SeriesModel

        inputs = self.num_channels * (2 * self.patch_size + (2 if self.normalize == "series" else 0))
        return SeriesModel(inputs, self.width, self.layers, self.num_heads, self.dropout)

    def examples(self, folder: Path) -> Sequence[Any]:
        """Regular and irregular ones of several lengths, with missing values; files where it reads files."""
        from a2a_timeseries.examples import example_files, example_values

        names = None if isinstance(self.channels, int) else self.channels
        if self.reads == "value":
            return example_values(self.num_channels, names, self.time)
        return example_files(self.num_channels, names, self.time, folder)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """One layer over patches of four steps of two channels."""
        return cls(channels=("x", "y"), patch_size=4, width=8, layers=1, num_heads=2)
