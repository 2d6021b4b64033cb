import struct
from itertools import pairwise
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_video import by_torchcodec
from a2a_video.decoding import Video, pixels

UNEVEN = [500 + 100 * i + (700 if i > 10 else 0) + (35 if i % 3 else 0) for i in range(30)]
FILMS = {
    "mpeg4.mp4": {"codec": "mpeg4", "b_frames": 0},
    "b-frames.mp4": {"b_frames": 3},
    "open-gop.mp4": {"options": {"x264-params": "open-gop=1"}, "b_frames": 3},
    "one-keyframe.mp4": {"gop": 100},
    "uneven.mp4": {"times": UNEVEN},
    "uneven.mkv": {"times": UNEVEN},
    "b-frames.mkv": {},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "b-frames.avi": {"codec": "mpeg4"},
    "plain.avi": {"codec": "mpeg4", "b_frames": 0},
    "late.ts": {},
    "program.mpg": {"codec": "mpeg2video", "rate": 25},
    "flash.flv": {"b_frames": 0},
    "animated.gif": {"codec": "gif"},
    "bare.h264": {},
    "lossless.mkv": {"codec": "ffv1"},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "with-sound.mp4": {"sound": True},
    "upside-down.mp4": {"turned": 180},
    "upright.mp4": {"turned": -90},
}


@pytest.fixture(autouse=True)
def without_torchcodec(monkeypatch):
    """What PyAV does alone; test_by_torchcodec.py compares the two."""
    monkeypatch.setattr(by_torchcodec, "works", lambda: False)


@pytest.fixture(scope="module")
def films(tmp_path_factory, film_at):
    """Each of FILMS with all its frames and their times, decoded from the beginning to the end."""
    folder = tmp_path_factory.mktemp("films")
    made = {name: film_at(folder / name, **options) for name, options in FILMS.items()}
    return {name: (path, everything(path)) for name, path in made.items()}


def everything(path):
    found, ends = [], 0.0
    with av.open(str(path)) as file:
        begin = (file.start_time or 0) / av.time_base
        for frame in file.decode(video=0):
            time = ends if frame.time is None else frame.time - begin
            ends = time + float((frame.duration or 0) * frame.time_base)
            found.append((time, pixels(frame)))
    return found, ends


def on_at(frames, moment):
    """By the definition: the last frame that has come on, or the first."""
    return next(((time, picture) for time, picture in reversed(frames) if time <= moment + 1e-6), frames[0])


SLACK = {"b-frames.avi": 0.21}
"""Seconds that frames of an avi may be off: it says when frames are decoded, and the decoder guesses when they are shown."""


def same(frames, moment, frame, slack):
    """Whether a frame is the one that is on, or within the slack."""
    near = [moment + step * slack / 10 for step in range(-10, 11)] if slack else [moment]
    return any(np.array_equal(on_at(frames, each)[1], frame.pixels) for each in near)


@pytest.mark.parametrize("name", FILMS)
def test_every_format_gives_the_frame_that_is_on(films, name):
    path, (frames, ends) = films[name]
    moments = [*np.linspace(0, ends, 40, endpoint=False).tolist(), ends * 0.9, ends * 0.1, 0, ends * 0.5, ends]
    with Video(path) as video:
        found = list(video.frames(moments))
        assert video.duration == pytest.approx(ends, abs=max(0.05, SLACK.get(name, 0)))
    for moment, frame in zip(moments, found, strict=True):
        assert same(frames, moment, frame, SLACK.get(name, 0))
        assert frame.time == pytest.approx(on_at(frames, moment)[0], abs=max(1e-6, SLACK.get(name, 0)))


class Quiet(NamedTuple):
    """The films, without a text that hypothesis would repeat."""

    films: Any

    def __repr__(self):
        return "the films"


@pytest.fixture
def order(films):
    return Quiet(films)


@pytest.mark.parametrize("name", ["b-frames.mp4", "uneven.mkv", "flash.flv", "late.ts", "animated.gif", "open-gop.mp4"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_moments_may_come_in_any_order(name, order, places):
    path, (frames, ends) = order.films[name]
    moments = [place * ends for place in places]
    with Video(path) as video:
        for moment, frame in zip(moments, video.frames(moments), strict=True):
            time, picture = on_at(frames, moment)
            assert frame.time == pytest.approx(time, abs=1e-6)
            assert np.array_equal(frame.pixels, picture)
    with Video(path.read_bytes()) as video:
        assert video.duration == pytest.approx(ends, abs=0.05)


def test_pictures_are_rgb_and_turned_as_the_file_says(film, drawn, number):
    with Video(film("plain.mp4", count=6)) as video:
        picture = next(video.frames([0.5])).pixels
    assert picture.dtype == np.uint8
    assert picture.shape == (48, 112, 3)
    assert number(picture) == 5
    assert np.abs(picture.astype(int) - drawn(5)).mean() < 8
    for turned, turns in ((90, 1), (180, 2), (-90, 3)):
        with Video(film(f"turned-{turned}.mp4", count=6, turned=turned)) as video:
            assert np.array_equal(next(video.frames([0.5])).pixels, np.rot90(picture, turns))


def test_frames_are_found_by_time_where_they_are_unevenly_spread(films, number):
    path, _ = films["uneven.mp4"]
    begun = [time / 1000 - 0.5 for time in UNEVEN]  # second 0 is the first frame's
    moments = [first + 0.4 * (second - first) for first, second in pairwise(begun)]
    with Video(path) as video:
        assert [number(frame.pixels) for frame in video.frames(moments)] == list(range(29))
        (held,) = video.frames([begun[10] + 0.6])  # in the gap of 0.7 s
    assert number(held.pixels) == 10


def test_second_0_is_where_the_sound_begins(film, number):
    path = film("late.mp4", count=20, times=[100 * i + 300 for i in range(20)], sound=True)
    with Video(path) as video:
        first, later = video.frames([0.1, 1.05])
        assert first.time == pytest.approx(0.3, abs=0.01)
        assert (number(first.pixels), number(later.pixels)) == (0, 7)


def test_one_that_is_on_twice_is_the_same_array(film):
    with Video(film("slow.mp4", count=4, rate=2)) as video:
        one, again, other = video.frames([0.1, 0.2, 0.6])
    assert one.pixels is again.pixels
    assert one.pixels is not other.pixels


class Counted:
    """Counts the packets that are read."""

    def __init__(self, video):
        self.container, self.read = video.container, 0

    def demux(self, stream):
        for packet in self.container.demux(stream):
            self.read += 1
            yield packet

    def __getattr__(self, name):
        return getattr(self.container, name)


@pytest.mark.parametrize("name", ["long.mp4", "long.mkv", "long.avi", "long.ts"])
def test_only_what_a_segment_needs_is_read(film, name):
    path = film(name, count=3000, rate=25, gop=25, codec="mpeg4", b_frames=0)
    with Video(path) as video:
        video.container = counted = Counted(video)
        found = list(video.frames([100.1, 100.3, 100.5]))
        assert [round(frame.time, 2) for frame in found] == pytest.approx([100.08, 100.28, 100.48], abs=0.03)
        assert video.decoded <= 60
        assert counted.read <= 80
        far = list(video.frames([10.5, 40.5, 80.5]))
        assert [frame.time for frame in far] == pytest.approx([10.5, 40.5, 80.5], abs=0.05)
        assert video.decoded <= 260


def test_a_frame_in_the_first_seconds_needs_no_more_than_those(film, number):
    with Video(film("long.mp4", count=3000, rate=25, gop=3000, codec="mpeg4", b_frames=0)) as video:
        (frame,) = video.frames([1.0])
        assert number(frame.pixels) == 25
        assert video.decoded <= 30


@pytest.mark.parametrize(
    ("name", "tag", "place", "layout"),
    [("a.mp4", b"mdhd", 20, ">I"), ("a.avi", b"strh", 40, "<I"), ("a.avi", b"avih", 24, "<I")],
)
@pytest.mark.parametrize("lie", [3, 400, 2**20])
def test_a_header_that_lies_about_the_number_of_frames_is_not_believed(film, number, name, tag, place, layout, lie):
    data = bytearray(film(name, codec="mpeg4", b_frames=0).read_bytes())
    where = data.index(tag) + place
    data[where : where + 4] = struct.pack(layout, lie)
    with Video(bytes(data)) as video:
        assert video.duration == pytest.approx(3.0, abs=0.01)
        assert [number(frame.pixels) for frame in video.frames([0.05, 1.55, 2.95])] == [0, 15, 29]


@pytest.mark.parametrize(("name", "place", "layout"), [("a.avi", 28, "<I")])
def test_a_rate_of_zero_in_the_header(film, name, place, layout):
    data = bytearray(film(name, codec="mpeg4", b_frames=0).read_bytes())
    where = data.index(b"strh") + place
    data[where : where + 4] = struct.pack(layout, 0)
    with Video(bytes(data)) as video:
        list(video.frames([0.0]))


def test_a_rate_is_told_but_not_needed(film):
    with Video(film("even.mp4", rate=25)) as video:
        assert video.fps == 25
    with Video(film("bare.h264", rate=10)) as video:
        assert video.fps == 10
        assert video.duration == pytest.approx(3)


def test_real_videos_give_every_frame_that_decoding_from_the_beginning_gives(videos):
    for path in videos:
        frames, ends = everything(path)
        moments = np.linspace(0, ends, 7, endpoint=False).tolist()
        with Video(path) as video:
            assert video.duration == pytest.approx(ends, abs=0.2)
            for moment, frame in zip(moments, video.frames(moments), strict=True):
                time, picture = on_at(frames, moment)
                assert frame.time == pytest.approx(time, abs=1e-6)
                assert np.array_equal(frame.pixels, picture)
