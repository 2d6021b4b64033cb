"""The `log-mel` encoder: sound to tokens, trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sin
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from a2a_audio.log_mel_processor import LogMelProcessor
from a2a_audio.mel import empty_filters
from a2a_audio.reading import MissingTrack, SoundReader
from a2a_core import RecordingConfig, option

if TYPE_CHECKING:
    from typing import Self

    from torch import nn


MISSING = "a video without a sound track: a row that cannot be read, or one without this modality"


class LogMelEncoder(RecordingConfig):
    """Sound to tokens: a log-mel spectrogram, two convolutions of stride 2, convolution blocks, a small transformer.

    The front end is Whisper's (arXiv 2212.04356, section 2.2): power spectrum of Hann windows, Slaney's mel filters, log10,
    nothing more than 80 dB below the loudest. The convolution blocks are ConvNeXt's (arXiv 2201.03545) over time, the layers
    pre-norm with sinusoidal positions. Masks go through all of it: tokens depend on their own sound alone.

    Shapes: `features` (N, frames, channels x num_mels) to (N, ceil(frames / 4), width): a token for 40 ms at `hop_ms = 10`.

    `sample_rate` is best that of the recordings, or lower: sound is resampled to it, and a higher one adds only empty mels.
    Telephone sound and DTMF tones: 8000. Stereo gives two spectrograms side by side, from a mono file the same twice. A
    sound shorter than one window is continued by silence; one longer than `max_seconds` loses its tail.

    The sound of a video is read like any other, and a row's `start` and `end` cut it as they cut the pictures.

    `normalize = "sound"` takes each sound to mean 0 and deviation 1 over all its mels and frames, so that loudness does not
    matter, but which frequencies stand out does (a mean for each mel would erase steady tones). `"fixed"` keeps loudness.
    """

    name: ClassVar[str] = "log-mel"
    modality: ClassVar[str] = "audio"

    width: int = option("channels of a token", default=128, ge=2)
    conv_layers: int = option("convolution blocks after the two that shorten", default=2, ge=0)
    layers: int = option("transformer layers after them", default=2, ge=0)
    num_heads: int = option("attention heads of a layer", default=4, ge=1)
    dropout: float = option("dropout rate", default=0.1, ge=0, lt=1)
    sample_rate: int = option("samples a second that sound is brought to, Hz", default=16000, ge=1000)
    channels: Literal["mono", "stereo"] = option("mix channels down to one, or keep two", default="mono")
    num_mels: int = option("mel filters", default=64, ge=1)
    window_ms: float = option("length of a window, ms", default=25.0, gt=0)
    hop_ms: float = option("from one window to the next, ms", default=10.0, gt=0)
    n_fft: int | None = option(
        "samples of a Fourier transform (none: the next power of two from the window)", default=None, ge=2
    )
    normalize: Literal["sound", "fixed"] = option("by each sound's mean and deviation, or by fixed numbers", default="sound")
    max_seconds: float | None = option("cut longer sound at so many seconds (none: never)", default=None, gt=0)
    missing_track: MissingTrack = option(MISSING, default="error")

    @property
    def window(self) -> int:
        """Samples of a window."""
        return round(self.sample_rate * self.window_ms / 1000)

    @property
    def hop(self) -> int:
        """Samples from one window to the next."""
        return round(self.sample_rate * self.hop_ms / 1000)

    @property
    def fft_length(self) -> int:
        """Samples of a Fourier transform."""
        return self.n_fft if self.n_fft is not None else 1 << max(1, (self.window - 1).bit_length())

    def check(self) -> None:
        """ValueError for sizes that do not fit one another."""
        if self.width % 2 or self.width % self.num_heads:
            raise ValueError(f"`width` = {self.width} must be even, and a multiple of `num_heads` = {self.num_heads}")
        if not 1 <= self.hop <= self.window:
            raise ValueError(
                f"`hop_ms` is {self.hop} samples: it must be at least one, and no more than the window's {self.window}"
            )
        if self.fft_length < self.window or self.fft_length % 2:
            raise ValueError(f"`n_fft` = {self.fft_length} must be even, and no less than the window's {self.window} samples")
        if empty := empty_filters(self.num_mels, self.fft_length, self.sample_rate):
            raise ValueError(
                f"`num_mels` = {self.num_mels} is too many for {self.fft_length} samples at {self.sample_rate} Hz: "
                f"{len(empty)} filters are narrower than one frequency; take fewer, or a larger `n_fft`"
            )

    def processor(self) -> LogMelProcessor:
        """Sound to `features`."""
        reader = SoundReader(self.sample_rate, self.channels, self.max_seconds, self.missing_track)
        return LogMelProcessor(reader, self.num_mels, self.fft_length, self.window, self.hop, self.normalize)

    def build(self) -> nn.Module:
        """The module with random weights."""
        from a2a_audio.log_mel_model import LogMelModel

        inputs = self.num_mels * (2 if self.channels == "stereo" else 1)
        return LogMelModel(inputs, self.width, self.conv_layers, self.layers, self.num_heads, self.dropout)

    def examples(self, folder: Path) -> Sequence[Any]:
        """Wav files of several rates, channels and lengths."""
        return example_files(folder)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Sixteen channels, one block and one layer."""
        return cls(width=16, conv_layers=1, layers=1, num_heads=2, num_mels=12, sample_rate=8000)


def example_files(folder: Path) -> Sequence[Path]:
    """Tones: 0.25 s at 8 kHz, 0.5 s in stereo at 22.05 kHz, 0.1 s at 16 kHz, and twelve samples."""
    import wave
    from array import array

    files = []
    for index, (rate, channels, samples) in enumerate(((8000, 1, 2000), (22050, 2, 11025), (16000, 1, 1600), (16000, 1, 12))):
        pitches = [300 + 170 * index + 230 * channel for channel in range(channels)]
        tone = [round(9000 * sin(2 * pi * pitch * t / rate)) for t in range(samples) for pitch in pitches]
        files.append(folder / f"tone-{index}.wav")
        with wave.open(str(files[-1]), "wb") as file:
            file.setparams((channels, 2, rate, samples, "NONE", "NONE"))
            file.writeframes(array("h", tone).tobytes())
    return files
