import io

import av
import numpy as np
import pytest
from PIL import Image

from a2a_core import Segment
from a2a_video.decoding import Video
from a2a_video.sampling import Sampling, sampled

WHOLE = Sampling("uniform", 6)


def looked_at(raw):
    """What a processor does of it."""
    return [frame.time for frame in sampled(raw, WHOLE)]


def picture(kind):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(file, kind)
    return file.getvalue()


def sound(cover=False):
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        art = container.add_stream("mjpeg", rate=1) if cover else None
        if art is not None:
            art.width, art.height, art.pix_fmt = 32, 32, "yuvj420p"
            art.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if art is not None:
            container.mux(art.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
            container.mux(art.encode())
    return file.getvalue()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"this is no video, whatever its name says\n" * 40, "cannot be opened"),
        (bytes(range(256)) * 64, "cannot be opened"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.ts\n#EXT-X-ENDLIST\n", "cannot be opened"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "cannot be opened"),
        (picture("PNG"), "cannot be opened"),
        (picture("JPEG"), "cannot be opened"),
        (picture("WEBP"), "cannot be opened"),
        (picture("GIF"), r"a picture \(gif\), not a video"),
        (sound(), "no video stream, only sound"),
        (sound(cover=True), "no video stream, only sound"),
        (7, "not int"),
        (None, "not NoneType"),
        ({"path": "a.mp4"}, "not dict"),
    ],
)
def test_what_is_no_video_says_why(tmp_path, raw, message):
    with pytest.raises(ValueError, match=message) as caught:
        looked_at(raw)
    assert type(caught.value) is ValueError
    if isinstance(raw, bytes):
        (tmp_path / "clip.mp4").write_bytes(raw)
        with pytest.raises(ValueError, match=message):
            looked_at(tmp_path / "clip.mp4")


def test_a_folder_and_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        looked_at(tmp_path)
    with pytest.raises(FileNotFoundError):
        looked_at(tmp_path / "missing.mp4")


def test_a_picture_in_a_video_container_is_refused():
    try:
        data = picture("AVIF")
    except KeyError:
        pytest.skip("this Pillow writes no AVIF")
    with pytest.raises(ValueError, match=r"a picture \(avif\), not a video"):
        looked_at(data)


@pytest.mark.parametrize("left", [0.2, 0.5, 0.9])
def test_an_mp4_without_its_header_at_the_end(film, left):
    data = film("a.mp4").read_bytes()
    with pytest.raises(ValueError, match="header is missing or damaged|no frame that can be decoded"):
        looked_at(data[: int(len(data) * left)])


@pytest.mark.parametrize("left", [0.4, 0.6, 0.9, 0.999])
def test_an_mp4_that_is_cut_off_behind_its_header(film, left):
    data = film("a.mp4", count=60, container={"movflags": "faststart"}).read_bytes()
    with pytest.raises(ValueError, match="cut off: its index names frames up to byte"):
        looked_at(data[: int(len(data) * left)])


@pytest.mark.parametrize("name", ["a.mkv", "a.webm"])
@pytest.mark.parametrize("left", [0.4, 0.7])
def test_a_matroska_that_is_cut_off(film, name, left):
    data = film(name, count=60, codec="libvpx-vp9" if name == "a.webm" else "libx264").read_bytes()
    with pytest.raises(ValueError, match=r"ends at \d.\d+ s, but declares 6.00 s: it is cut off"):
        looked_at(data[: int(len(data) * left)])


def test_a_flash_video_that_is_cut_off(film):
    data = film("a.flv", count=60, b_frames=0).read_bytes()
    with pytest.raises(ValueError, match="cut off"):
        looked_at(data[: int(len(data) * 0.6)])


def test_damage_between_keyframes_is_found_where_it_is_looked_at(film):
    data = bytearray(film("a.mp4", count=60, b_frames=0).read_bytes())
    with Video(bytes(data)) as video:
        places = [(entry.pos, entry.size) for entry in video.stream.index_entries]
    for place, size in places[41:49]:
        data[place : place + size] = b"\xff" * size
    with pytest.raises(ValueError, match=r"damaged behind 4.\d\d s"):
        looked_at(bytes(data))
    assert len(looked_at(Segment(bytes(data), 0.0, 3.0))) == 6


def test_segments_past_the_end(film):
    path = film("a.mp4")
    assert looked_at(Segment(path, 1.0, 2.5)) == pytest.approx([0.125, 0.375, 0.625, 0.875, 1.125, 1.375])
    assert looked_at(Segment(path, 2.0, 3.9))[-1] < 1.0  # rounded: cut
    for start, end in ((3.0, None), (9.0, 10.0), (1.0, 4.5)):
        with pytest.raises(ValueError, match="past the end of the recording, which lasts 3.000 s"):
            looked_at(Segment(path, start, end))


def test_damaged_files_never_raise_anything_else(film):
    random = np.random.default_rng(0)
    refused = 0
    for name, options in (
        ("a.mp4", {}),
        ("b.mkv", {}),
        ("c.avi", {"codec": "mpeg4"}),
        ("d.ts", {}),
        ("e.gif", {"codec": "gif"}),
    ):
        whole = film(name, count=12, **options).read_bytes()
        for _ in range(40):
            data = np.frombuffer(whole, np.uint8)[: random.integers(1, len(whole) + 1)].copy()
            data[random.integers(0, len(data), 3)] = random.integers(0, 256, 3)
            try:
                assert looked_at(data.tobytes())
            except ValueError:
                refused += 1
    assert refused > 20


def test_a_codec_that_nothing_decodes_is_named(film):
    data = film("a.avi", count=6, codec="mpeg4").read_bytes()
    with pytest.raises(ValueError, match="no decoder is known"):
        looked_at(data.replace(b"FMP4", b"Q?Q?"))


def test_a_closed_video_lets_go_of_its_file(film):
    path = film("a.mp4", count=3)
    with Video(path) as video:
        file = video.file
    assert file.closed
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="empty"):
        Video(path)
