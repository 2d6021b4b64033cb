"""A recording, open: which of the three kinds of reading fits what a row holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples: TypeAlias = NDArray[np.float32]


class Recording(Protocol):
    """Sound of a known length, of which any part can be read."""

    rate: int
    """Samples a second, Hz."""
    frames: int
    """Samples of a channel. A compressed file may only estimate them: `read` then gives fewer."""

    def read(self, first: int, last: int) -> Samples:
        """Float32 samples `first` to `last` (excluded), (n, channels); ValueError where they are damaged or cut off."""


@contextmanager
def open_recording(raw: Any) -> Iterator[Recording]:
    """What `read_sound` takes as `raw`, open; ValueError for what is no sound, NoSoundTrackError for a video without one.

    libsndfile is asked first. PyAV, which would decode what is left of a damaged wav or flac without a word, is only given
    what libsndfile knows nothing of.
    """
    if isinstance(raw, Mapping):
        raw = _from_mapping(raw)
    if isinstance(raw, (str, Path)):
        with _open_path(Path(raw)) as file, _open_file(file) as recording:
            yield recording
    elif isinstance(raw, (bytes, bytearray, memoryview)):
        with _open_file(BytesIO(raw)) as recording:
            yield recording
    elif isinstance(raw, (tuple, list)) and len(raw) == 2:
        from a2a_audio.sample_array import SampleArray

        yield SampleArray(raw[0], raw[1])
    else:
        raise ValueError(f"a sound is a path, bytes or (samples, sample rate), not {type(raw).__name__}")


def _from_mapping(raw: Mapping[str, Any]) -> Any:
    """What `datasets` calls an audio: decoded (array, sampling_rate), or not (bytes, path)."""
    if raw.get("array") is not None and raw.get("sampling_rate") is not None:
        return raw["array"], raw["sampling_rate"]
    medium = raw.get("bytes") or raw.get("path")
    if medium is None:
        raise ValueError(f"a sound as a table has `array` and `sampling_rate`, `bytes` or `path`; this has {sorted(raw)}")
    return medium


def _open_path(path: Path) -> Any:
    if not path.exists():
        raise ValueError(f"there is no file {path}")
    if not path.is_file():
        raise ValueError(f"{path} is no file")
    return path.open("rb")


@contextmanager
def _open_file(file: Any) -> Iterator[Recording]:
    import soundfile

    from a2a_audio.sound_file import SoundFile

    try:
        sound = soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        with _open_track(file, error.error_string) as track:
            yield track
        return
    with sound:
        yield SoundFile(sound, file)


@contextmanager
def _open_track(file: Any, reason: str) -> Iterator[Recording]:
    """The sound of a container that libsndfile does not know, or what it says of the file."""
    from a2a_audio.sound_track import SoundTrack, open_container

    container = open_container(file)
    if container is None:
        raise ValueError(f"this is no sound that can be read, or it is cut off ({reason})")
    with container:
        yield SoundTrack(container, file)
