import sys

import numpy as np
import pytest

from a2a_video import by_torchcodec
from a2a_video.decoding import Video

FILMS = {
    "b-frames.mp4": {"b_frames": 3},
    "uneven.mp4": {"times": [100 * i + (700 if i > 10 else 0) + 300 for i in range(30)]},
    "uneven.mkv": {"times": [100 * i + (700 if i > 10 else 0) + 300 for i in range(30)]},
    "open-gop.mp4": {"options": {"x264-params": "open-gop=1"}, "b_frames": 3},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "turned.mp4": {"turned": 90},
    "with-sound.mp4": {"sound": True},
    "b-frames.avi": {"codec": "mpeg4"},
    "stream.ts": {},
}
needs_torchcodec = pytest.mark.skipif(not by_torchcodec.works(), reason="torchcodec is not installed, or finds no FFmpeg")


@needs_torchcodec
@pytest.mark.parametrize("name", FILMS)
def test_it_makes_the_same_frames(film, name):
    with Video(film(name, **FILMS[name])) as video:
        moments = [*np.linspace(0, video.duration * 0.99, 33).tolist(), 0.05, 1.21]
        found = list(video.frames(moments))
        assert name != "b-frames.mp4" or not video.decoded
        wanted = list(video.decoded_frames(moments))
    for one, other in zip(found, wanted, strict=True):
        assert one.time == pytest.approx(other.time, abs=1e-6)
        assert np.array_equal(one.pixels, other.pixels)


@needs_torchcodec
def test_it_makes_the_same_frames_of_real_videos(videos):
    for path in videos:
        with Video(path) as video:
            moments = np.linspace(0, video.duration, 9, endpoint=False).tolist()
            pairs = zip(video.frames(moments), video.decoded_frames(moments), strict=True)
            assert all(np.array_equal(one.pixels, other.pixels) for one, other in pairs)


@needs_torchcodec
def test_what_it_cannot_do_is_left_to_pyav(film):
    path = film("a.mp4")
    with Video(path) as video:
        last = list(video.frames([2.0, video.duration]))[-1]
        assert last.time == pytest.approx(2.9)
        assert video.decoded


def test_one_that_is_installed_but_does_not_work_is_not_used(film, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec", None)  # importing it is an ImportError
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    by_torchcodec.works.cache_clear()
    with Video(film("a.mp4")) as video:
        assert len(list(video.frames([0.0, 1.0]))) == 2
        assert video.decoded
    by_torchcodec.works.cache_clear()


class Forged:
    """A decoder whose frames are a shade too bright."""

    def __init__(self, raw):
        with Video(raw) as video:
            self.pixels = next(video.decoded_frames([0.0])).pixels

    class metadata:  # noqa: N801
        begin_stream_seconds = 0.0

    def get_frames_played_at(self, moments):
        import torch

        class Batch:
            pts_seconds = torch.tensor([0.0, 0.1, 0.4][: len(moments)])
            data = torch.from_numpy(self.pixels.clip(0, 254) + 1)[None].expand(len(moments), -1, -1, -1)

        return Batch


def test_one_that_makes_other_frames_is_not_used(monkeypatch):
    monkeypatch.setattr(by_torchcodec, "opened", Forged)
    by_torchcodec.works.cache_clear()
    assert not by_torchcodec.works()
    by_torchcodec.works.cache_clear()
