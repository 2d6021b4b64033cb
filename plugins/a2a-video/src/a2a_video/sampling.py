"""Which moments of a recording are looked at, and the frames that are on then."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from a2a_core import Segment

if TYPE_CHECKING:
    from a2a_video.decoding import Frame

TINY = 1e-6
"""Share of a bin that no rounding error of a segment's bounds reaches."""


class Sampling(NamedTuple):
    """Moments of a stretch of time: the centres of equal bins, so that nothing depends on where frames happen to lie.

    `"uniform"`: always `num_frames` bins. `"fps"`: so many bins a second from the start on, those whose
    centre is before the end: at least one and at most `max_frames`; what lasts longer is looked at as often, further apart.
    """

    how: Literal["uniform", "fps"] = "uniform"
    num_frames: int = 8
    fps: float = 2.0
    max_frames: int = 64

    def moments(self, start: float, end: float) -> list[float]:
        """Seconds, ascending, from `start` on and before `end`."""
        count, step = self.num_frames, (end - start) / self.num_frames
        if self.how == "fps":
            # centres before the end; one at the end itself is none, however the end was rounded
            count, step = max(1, math.ceil((end - start) * self.fps - 0.5 - TINY)), 1 / self.fps
            if count > self.max_frames or count == 1:
                count = min(count, self.max_frames)
                step = (end - start) / count
        last = max(start, math.nextafter(end, -math.inf))
        return [min(start + (index + 0.5) * step, last) for index in range(count)]


def sampled(raw: Any, sampling: Sampling) -> Iterator[Frame]:
    """Frames of a video, or of a Segment of one; their times are those of the moments, in seconds from the segment's start.

    A clip that has fewer frames than moments: `"uniform"` gives the same array again, as often as it is on, so that there are
    always `num_frames`; `"fps"` gives each frame once. ValueError for what cannot be read, or has no such segment.
    """
    from a2a_video.decoding import Frame, Video

    segment = raw if isinstance(raw, Segment) else Segment(raw)
    with Video(segment.medium) as video:
        start, end = segment.within(video.duration)
        moments = sampling.moments(start, end)
        last = None
        for moment, frame in zip(moments, video.frames(moments), strict=True):
            if sampling.how == "uniform" or frame.pixels is not last:
                yield Frame(moment - start, frame.pixels)
            last = frame.pixels
