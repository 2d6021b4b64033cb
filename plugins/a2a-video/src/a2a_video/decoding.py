"""Frames of a video at given moments: found by their times, decoded from the keyframe before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from a2a_video import by_torchcodec
from a2a_video.opening import (
    CUT,
    SEQUENTIAL,
    begin,
    end,
    open_container,
    open_file,
    refuse_cut_off,
    scanned_end,
    size,
    video_stream,
)

if TYPE_CHECKING:
    from typing import Self, TypeAlias

    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    Picture: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

CLOSE: Final = 1e-6
"""Seconds that a moment may lie before a frame and count as its beginning: times are rounded by their clock."""
NEAR: Final = 0.5
"""A keyframe no further ahead is not sought: it may come on later than the index says, because frames were reordered."""
FAR: Final = 2.0
"""Seconds ahead from which a seek is tried where the index knows of no keyframe."""
INDEXED: Final = ("avi", "mov,mp4,m4a,3gp,3g2,mj2")
"""Formats whose index names every keyframe."""
TIMED: Final = ("matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2")
"""Formats that say when each frame is shown. In others torchcodec 0.13 confuses that with when it is decoded."""


class Frame(NamedTuple):
    """One frame, and the second that it comes on."""

    time: float
    pixels: Picture
    """(height, width, 3) uint8, RGB, upright."""


class Video:
    """An open video, to be closed or used in a `with`.

    Second 0 is the beginning of the recording: of the first of its streams, sound included. `duration` counts from there to
    the end of the last frame, as the file declares it, else as its packets say. `fps` is frames a second on average, None
    where nothing says; no frame is found by it. `decoded` counts the frames decoded so far.

    A frame is on from its own time to the next one's, the first one before that too. Turns that the file declares are made;
    pixels that are not square stay as they are. ValueError for what cannot be read, on opening or when frames are asked for.
    """

    def __init__(self, raw: Any) -> None:
        """`raw` is a path or the bytes of a file."""
        self.raw, self.decoded = raw, 0
        self.convert = VideoReformatter()  # one for all frames: making it takes longer than converting a frame
        self.file = open_file(raw)
        self.size = size(self.file)
        try:
            self._open()
            self.duration = self._duration()
        except BaseException:
            self.file.close()
            raise
        # where no frame has a time the average is made up
        rate = self.stream.average_rate if self.stream.start_time is not None else self.stream.guessed_rate
        self.fps = float(rate) if rate else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self.container.close()
        self.file.close()

    def frames(self, moments: Iterable[float]) -> Iterator[Frame]:
        """The frame that is on at each moment, in seconds; cheapest in ascending order.

        One that is on at several moments in a row is the same array again. torchcodec makes them where it works and the file
        is small, else PyAV: the same frames, and the same errors.
        """
        moments = list(moments)
        done = 0
        decoder = self._torchcodec(moments)
        if decoder is not None:
            with suppress(*by_torchcodec.FAILURES):
                for frame in by_torchcodec.frames(decoder, moments, self.begin):
                    yield frame
                    done += 1
        yield from self.decoded_frames(moments[done:])

    def decoded_frames(self, moments: Iterable[float]) -> Iterator[Frame]:
        """As `frames`, by PyAV."""
        last: _Decoded | None = None
        for moment in moments:
            shown = self._at(moment)
            if shown is not last:
                last, picture = shown, pixels(shown.frame, self.convert)
            yield Frame(shown.start, picture)

    def _torchcodec(self, moments: Sequence[float]) -> Any:
        """torchcodec's decoder of the file, None where it is better left to PyAV."""
        if self.size > by_torchcodec.LARGEST or self.container.format.name not in TIMED:
            return None
        decoder = by_torchcodec.decoder(self.raw)
        ends = decoder.metadata.end_stream_seconds - self.begin if decoder is not None else 0.0
        return decoder if moments and max(moments) + CLOSE < ends else None

    def _open(self) -> None:
        """Stand at the beginning, with nothing decoded."""
        self.container: InputContainer = open_container(self.file)
        self.stream: VideoStream = video_stream(self.container)
        refuse_cut_off(self.stream, self.size)
        self.stream.codec_context.thread_count = 1  # data workers are several already
        self.begin = begin(self.container, self.stream)
        self.fresh = True
        self.shown: _Decoded | None = None
        self.following: _Decoded | None = None

    def _duration(self) -> float:
        """Seconds from the recording's beginning to the last frame's end."""
        found = end(self.container, self.stream)
        if found is None:
            found = scanned_end(self.container, self.stream)
            self._open()
        if found <= self.begin:
            raise ValueError("the video lasts 0 seconds")
        return found - self.begin

    def _at(self, moment: float) -> _Decoded:
        """The frame that is on."""
        if self.shown is None or moment + CLOSE < self.shown.start or self._pays(self.shown.start, moment):
            self._go(moment)
        while self.following is not None and self.following.start <= moment + CLOSE:
            self.shown, self.following = self.following, next(self.coming, None)
        if self.shown is None:
            raise ValueError("the video has no frame that can be decoded")
        if self.following is None and moment > self.shown.end + CUT:
            raise ValueError(f"the video ends at {self.shown.end:.2f} s, but declares {self.duration:.2f} s: it is cut off")
        return self.shown

    def _pays(self, position: float, moment: float) -> bool:
        """Whether a seek spares decoding: a keyframe lies between, or there is room for one that the index does not know."""
        name, index = self.container.format.name, self.stream.index_entries
        if moment - position <= NEAR or name in SEQUENTIAL:
            return False
        found = index.search_timestamp(self._stamp(moment)) if len(index) else -1
        if found >= 0 and index[found].timestamp > self._stamp(position + NEAR):
            return True
        return name not in INDEXED and moment - position > FAR

    def _go(self, moment: float) -> None:
        """Decode from the keyframe before a moment; from an earlier one where the file's own seeking lands behind it."""
        back = 0.0
        while self._pays(0.0, moment - back) and self._seek(moment - back):
            self.shown = next((each for each in self.coming if each.frame.key_frame), None)
            if self.shown is not None and self.shown.start <= moment + CLOSE:
                break
            back = 2 * back + 1
        else:
            if not self.fresh:
                self._open()
            self.fresh, self.coming = False, self._decode(0.0)
            self.shown = next(self.coming, None)
        self.following = next(self.coming, None)

    def _seek(self, moment: float) -> bool:
        """Stand at a keyframe; False where the file cannot be sought in."""
        self.fresh = False
        try:
            self.container.seek(self._stamp(moment), stream=self.stream)
        except av.FFmpegError:
            return False
        self.coming = self._decode(None)
        return True

    def _stamp(self, moment: float) -> int:
        """A second by the file's own clock."""
        return round((moment + self.begin) / self.stream.time_base)

    def _decode(self, end: float | None) -> Iterator[_Decoded]:
        """The frames from here on. `end` is when the one before ends; None after a seek, where a keyframe has to come first."""
        started = end is not None
        try:
            for packet in self.container.demux(self.stream):
                started = started or packet.is_keyframe
                for frame in packet.decode() if started else ():
                    self.decoded += 1
                    decoded = self._timed(frame, end)
                    end = decoded.end
                    yield decoded
        except av.FFmpegError as error:
            raise ValueError(f"the video is damaged behind {end or 0:.2f} s ({error.strerror})") from None

    def _timed(self, frame: VideoFrame, end: float | None) -> _Decoded:
        """A frame without a time follows the one before it."""
        lasts = float(frame.duration * self.stream.time_base) if frame.duration else 1 / self.fps if self.fps else 0.0
        if frame.pts is not None:
            start = float(frame.pts * self.stream.time_base) - self.begin
        elif end is None or not lasts:
            raise ValueError("the video's frames have no times, and nothing says how many there are a second")
        else:
            start = end
        return _Decoded(start, start + lasts, frame)


class _Decoded(NamedTuple):
    """A frame as the decoder made it, with the seconds that it comes on and goes."""

    start: float
    end: float
    frame: VideoFrame


def pixels(frame: VideoFrame, convert: VideoReformatter | None = None) -> Picture:
    """(height, width, 3) uint8, RGB, turned as the file says."""
    converted = (convert or VideoReformatter()).reformat(frame, format="rgb24", threads=1)
    picture = converted.to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
