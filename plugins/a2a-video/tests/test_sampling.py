import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_core import Segment
from a2a_video.sampling import Sampling, sampled

starts = st.floats(0, 1e4, allow_subnormal=False)
lengths = st.floats(1e-3, 1e4)


def test_uniform_moments_are_the_centres_of_equal_parts():
    assert Sampling("uniform", 4).moments(1.0, 3.0) == [1.25, 1.75, 2.25, 2.75]
    assert Sampling("uniform", 1).moments(0.0, 3.0) == [1.5]


def test_so_many_a_second():
    assert Sampling("fps", fps=2.0).moments(1.0, 3.0) == [1.25, 1.75, 2.25, 2.75]
    assert Sampling("fps", fps=2.0).moments(0.0, 0.1) == [0.05]
    assert Sampling("fps", fps=2.0, max_frames=2).moments(0.0, 4.0) == [1.0, 3.0]


@given(starts, lengths, st.integers(1, 40))
def test_uniform_is_always_as_many_inside_and_in_order(start, length, count):
    moments = Sampling("uniform", count).moments(start, start + length)
    assert len(moments) == count
    assert moments == sorted(moments)
    assert all(start <= moment < start + length for moment in moments)


def test_no_moment_lies_in_the_next_segment():
    """1.5 s at 1 fps have one moment: the second, at 1.5 s, is the first frame of what comes after."""
    assert Sampling("fps", fps=1.0).moments(0.0, 1.5) == [0.75]
    assert Sampling("fps", fps=1.0).moments(0.0, 1.51) == [0.5, 1.5]
    assert Sampling("fps", fps=1.0).moments(2.0, 4.5) == [2.5, 3.5]
    assert len(Sampling("fps", fps=10.0).moments(1.1, 1.4)) == 3, "0.3 s as floats: a little less, or more"
    assert len(Sampling("fps", fps=10.0).moments(0.0, 0.35)) == 3


@given(starts, lengths, st.floats(0.01, 60), st.integers(1, 40))
def test_a_rate_is_kept_inside_and_up_to_the_most(start, length, fps, most):
    end = start + length
    moments = Sampling("fps", fps=fps, max_frames=most).moments(start, end)
    assert 1 <= len(moments) <= most
    assert moments == sorted(moments)
    assert all(start <= moment < end for moment in moments)
    if 1 < len(moments) < most:
        assert (end - start) * fps - 0.5 - 1e-5 <= len(moments) < (end - start) * fps + 0.5 + 1e-5
        assert moments[1] - moments[0] == pytest.approx(1 / fps, rel=1e-3, abs=1e-6)
        assert moments[0] - start == pytest.approx(0.5 / fps, rel=1e-3, abs=1e-6)


@given(starts, lengths, lengths, st.floats(0.01, 60))
def test_what_lasts_longer_is_looked_at_no_less_often(start, one, other, fps):
    sampling = Sampling("fps", fps=fps)
    shorter, longer = (len(sampling.moments(start, start + length)) for length in sorted((one, other)))
    assert shorter <= longer


def test_a_short_clip_is_repeated_or_seen_once(film, number):
    path = film("short.mp4", count=3)
    uniform = list(sampled(path, Sampling("uniform", 7)))
    assert [number(frame.pixels) for frame in uniform] == [0, 0, 1, 1, 1, 2, 2]
    assert uniform[0].pixels is uniform[1].pixels
    fps = list(sampled(path, Sampling("fps", fps=25.0)))
    assert [number(frame.pixels) for frame in fps] == [0, 1, 2]
    assert [frame.time for frame in fps] == pytest.approx([0.02, 0.1, 0.22], abs=0.03)


def test_a_segment_counts_from_its_start(film, number):
    found = list(sampled(Segment(film("a.mp4"), 1.0, 2.0), Sampling("fps", fps=5.0)))
    assert [number(frame.pixels) for frame in found] == [11, 13, 15, 17, 19]
    assert [frame.time for frame in found] == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])


def test_the_same_frames_every_time(film):
    path = film("a.mp4")
    one, other = (list(sampled(raw, Sampling("uniform", 5))) for raw in (path, path.read_bytes()))
    assert all(a.time == b.time and (a.pixels == b.pixels).all() for a, b in zip(one, other, strict=True))
