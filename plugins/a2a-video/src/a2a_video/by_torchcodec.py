"""Frames by torchcodec, where it is installed and works: the same frames, somewhat sooner. Nothing depends on it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np

if TYPE_CHECKING:
    from a2a_video.decoding import Frame

LARGEST: Final = 16 * 2**20
"""Bytes of a file up to which torchcodec is asked: to know exact times it reads all of a file's packets."""
AT_ONCE: Final = 16
"""Frames in memory at a time."""
FAILURES: Final = (ImportError, IndexError, OSError, RuntimeError, ValueError)
"""What torchcodec raises for a file that it cannot read, and where it does not find FFmpeg's libraries."""


def decoder(raw: Any) -> Any:
    """torchcodec's decoder of a path or bytes; None where torchcodec does not work, or not on this file."""
    if not works():
        return None
    try:
        return opened(raw)
    except FAILURES:
        return None


def frames(decoder: Any, moments: Sequence[float], begin: float) -> Iterator[Frame]:
    """As Video.frames; `begin` is the recording's beginning by the file's own clock. One of FAILURES where it cannot."""
    from a2a_video.decoding import CLOSE, Frame

    first, time, picture = decoder.metadata.begin_stream_seconds, None, None
    for start in range(0, len(moments), AT_ONCE):
        wanted = [max(moment + begin + CLOSE, first) for moment in moments[start : start + AT_ONCE]]
        batch = decoder.get_frames_played_at(wanted)
        for found, pixels in zip(batch.pts_seconds.tolist(), batch.data, strict=True):
            if found != time:
                time, picture = found, pixels.numpy()
            yield Frame(found - begin, picture)


def opened(raw: Any) -> Any:
    """A decoder; one of FAILURES."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchcodec.decoders import VideoDecoder

        return VideoDecoder(raw, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")


@cache
def works() -> bool:
    """Whether torchcodec can be imported, and makes of a clip the very frames that PyAV makes."""
    from a2a_video.decoding import CLOSE, Video

    moments = [0.0, 0.15, 0.4]
    try:
        clip = made_clip()
        found = list(frames(opened(clip), moments, 0.0))
    except FAILURES:
        return False
    with Video(clip) as video:
        wanted = video.decoded_frames(moments)
        return all(
            abs(a.time - b.time) < CLOSE and np.array_equal(a.pixels, b.pixels) for a, b in zip(found, wanted, strict=True)
        )


def made_clip() -> bytes:
    """Five frames of coloured noise, 0.1 s each."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        noise = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), dtype=np.uint8)
        for index, picture in enumerate(noise):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()
