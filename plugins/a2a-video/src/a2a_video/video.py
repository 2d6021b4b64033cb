"""What encoders of videos have in common: which frames they look at."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from a2a_core import RecordingConfig, option
from a2a_video.sampling import Sampling


class VideoConfig(RecordingConfig):
    """An encoder that looks at some frames of a video, or of the segment that its row names."""

    modality: ClassVar[str] = "video"

    sampling: Literal["uniform", "fps"] = option("a fixed number of frames, or so many a second", default="uniform")
    num_frames: int = option('frames of `sampling = "uniform"`, evenly spread', default=8, ge=1)
    fps: float = option('frames a second of `sampling = "fps"`', default=2.0, gt=0)
    max_frames: int = option(
        'most frames of `sampling = "fps"`; of a longer recording so many are evenly spread', default=64, ge=1
    )

    @property
    def moments(self) -> Sampling:
        """Which moments are looked at."""
        return Sampling(self.sampling, self.num_frames, self.fps, self.max_frames)


def example_files(folder: Path) -> list[Path]:
    """Three videos of moving noise: of 7 and 3 frames, 10 a second, and an upright one of 12 frames, 25 a second."""
    from fractions import Fraction

    import av
    import numpy as np

    files = []
    for name, count, rate, size in (
        ("wide.mp4", 7, 10, (48, 32)),
        ("short.mp4", 3, 10, (32, 32)),
        ("high.avi", 12, 25, (32, 64)),
    ):
        noise = np.random.default_rng(count).integers(0, 256, (size[1], size[0] + count, 3), dtype=np.uint8)
        files.append(folder / name)
        with av.open(str(files[-1]), "w") as container:
            stream = container.add_stream("mpeg4", rate=rate)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for index in range(count):
                picture = np.ascontiguousarray(noise[:, index : index + size[0]])
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, rate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return files
