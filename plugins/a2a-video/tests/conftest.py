"""Videos for the tests: made ones, whose pictures say which frame they are, and real ones where they are to be had."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

BITS = 7
SIZE = (16 * BITS, 48)
"""Width and height of made videos: a bar of 16 pixels for each bit of the frame's number, above a coloured floor."""


def draw(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(height, width, 3): frame so and so, even after lossy compression."""
    width, height = size
    bits = np.array([255 * (number >> bit & 1) for bit in range(BITS)], np.uint8)
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = np.repeat(bits, width // BITS)[None, :width, None]
    picture[-16:] = (200, 40, 90)
    return picture


def read_number(picture: np.ndarray) -> int:
    """Which frame a picture is."""
    middle = picture[:-16].mean((0, 2)).reshape(BITS, -1)[:, 4:-4].mean(1)
    return sum(1 << bit for bit, grey in enumerate(middle) if grey > 128)


@pytest.fixture(scope="session")
def drawn() -> Callable[..., np.ndarray]:
    """Number -> picture (height, width, 3)."""
    return draw


@pytest.fixture(scope="session")
def number() -> Callable[[np.ndarray], int]:
    """Picture -> number."""
    return read_number


@pytest.fixture(scope="session")
def film_at() -> Callable[..., Path]:
    """(path, options) -> that path, with a film in which frame i is `drawn(i)`."""
    return make_film


@pytest.fixture
def film(tmp_path: Path) -> Callable[..., Path]:
    """(name, options) -> a file in which frame i is `drawn(i)`."""

    def make(name: str, **options) -> Path:
        return make_film(tmp_path / name, **options)

    return make


def make_film(
    path: Path,
    count: int = 30,
    rate: int = 10,
    codec: str = "libx264",
    gop: int = 10,
    b_frames: int = 2,
    times: list[int] | None = None,
    turned: int = 0,
    sound: bool = False,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """`times` are milliseconds; without them frames are evenly spread."""
    clock = Fraction(1, 1000) if times else Fraction(1, rate)
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        stream.gop_size, stream.max_b_frames = gop, b_frames
        stream.codec_context.time_base = clock
        if turned:
            stream.set_display_rotation(turned)
        if sound:
            add_sound(file, count / rate)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(draw(index), format="rgb24")
            frame.pts, frame.time_base = (times[index] if times else index), clock
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def add_sound(file: av.container.OutputContainer, seconds: float, rate: int = 8000) -> None:
    stream = file.add_stream("aac", rate=rate, layout="mono")
    samples = np.sin(np.arange(round(seconds * rate))[None] / 9).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    file.mux(stream.encode(frame))
    file.mux(stream.encode())


@pytest.fixture(scope="session")
def videos() -> list[Path]:
    """A few real ones of each set in `A2A_DATA`, by default `shared/data` beside the repository."""
    default = Path(__file__).parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("A2A_DATA", default))
    found = sorted((folder / "fall_video" / "video").glob("*.mp4"))[::4]
    found += sorted(each for each in (folder / "mllm_demo" / "media").glob("*") if each.suffix in (".mp4", ".avi"))
    if not found:
        pytest.skip(f"no videos in {folder}")
    return found
