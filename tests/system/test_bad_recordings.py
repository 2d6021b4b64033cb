"""What can be wrong with videos, segments and modalities: what is said, and that the rest is trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from a2a_core.runs import Run

RECIPE = """
bad_rows = 0.0
[data.train]
use = "jsonl"
path = "train.jsonl"
explode = "segments"
[encoders.video]
use = "frames"
num_frames = 2
temporal = "none"
width = 8
[encoders.video.image]
use = "patch"
image_size = 8
patch_size = 4
width = 8
num_heads = 2
layers = 1
[encoders.sound]
use = "log-mel"
field = "video"
width = 8
num_heads = 2
layers = 1
sample_rate = 8000
[fusion]
use = "concat"
width = 8
[heads.activity]
use = "classify"
[losses.activity]
use = "cross-entropy"
head = "activity"
[trainer]
epochs = 1
batch_size = 4
evaluate = "no"
save = "no"
report_to = []
[backend]
device = "cpu"
"""


def make_video(path: Path, seconds: float = 2.0, picture: bool = True, sound: bool = True) -> None:
    """Pictures that grow lighter, ten a second, and a tone."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=10) if picture else None
        tones = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        if pictures is not None:
            pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
            for number in range(round(seconds * 10)):
                pixels = np.full((32, 32, 3), 10 * number % 256, np.uint8)
                container.mux(pictures.encode(av.VideoFrame.from_ndarray(pixels)))
            container.mux(pictures.encode())
        if tones is not None:
            wave = (np.sin(np.arange(round(seconds * 16000)) * 0.2) * 9000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(wave[None], "s16", "mono")
            frame.sample_rate = 16000
            container.mux(tones.encode(frame))
            container.mux(tones.encode())


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    make_video(folder / "good.mp4")
    make_video(folder / "silent.mp4", sound=False)
    make_video(folder / "blind.mp4", picture=False)
    whole = (folder / "good.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    return folder


class Clips:
    """A folder with clips, rows and a recipe."""

    def __init__(self, place: Any, clips: Path) -> None:
        self.place = place
        for clip in clips.iterdir():
            (place.folder / clip.name).write_bytes(clip.read_bytes())
        place.recipe.write_text(RECIPE)

    def train(self, rows: Sequence[dict[str, Any]], *words: str, code: int = 0) -> str:
        self.place.write(rows)
        output = str(self.place.run("train", "recipe.toml", "--out", "run", *words, code=code).output)
        assert "Traceback" not in output
        return output

    def quarantine(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Run(self.place.folder / "run").quarantine.read_text().splitlines()]


@pytest.fixture
def made(place: Any, clips: Path) -> Clips:
    return Clips(place, clips)


def segments(*bounds: tuple[float, float]) -> list[dict[str, Any]]:
    return [{"label": "ab"[n % 2], "start": start, "end": end} for n, (start, end) in enumerate(bounds)]


GOOD = {"id": "good", "video": "good.mp4", "segments": segments((0, 1), (1, 2), (0.5, 1.5), (0, 2))}


def test_segments_are_samples(made: Clips) -> None:
    made.train([GOOD])
    assert Run(made.place.folder / "run").state["status"] == "done"
    assert not Run(made.place.folder / "run").quarantine.exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("silent.mp4", "no sound"),
        ("blind.mp4", "no video"),
        ("truncated.mp4", "missing or damaged"),
        ("gone.mp4", "there is no file"),
    ],
)
def test_a_video_that_lacks_something(made: Clips, name: str, says: str) -> None:
    row = {"id": "bad", "video": name, "segments": segments((0, 1))}
    output = made.train([GOOD, row], code=2)
    assert "train.jsonl:2 segments[0] (id bad#0): field `video`" in output
    assert name in output
    assert says in output
    made.train([GOOD, row], "--out", "again", "--set", "bad_rows=0.5")


@pytest.mark.parametrize(
    ("bounds", "says"),
    [((5.0, 6.0), "past the end"), ((1.0, 9.0), "past the end"), ((1.0, 1.0), "before it has begun"), ((-1.0, 1.0), "seconds")],
)
def test_a_segment_that_is_not_there(made: Clips, bounds: tuple[float, float], says: str) -> None:
    row = {"id": "bad", "video": "good.mp4", "segments": segments(bounds)}
    output = made.train([GOOD, row], "--set", "bad_rows=0.5")
    assert "train.jsonl:2 segments[0] (id bad#0) is set aside" in output
    [bad] = made.quarantine()
    assert bad["id"] == "bad#0"
    assert says in bad["reason"]


@pytest.mark.parametrize("fps", ["0", "-1"])
def test_no_frames_a_second(made: Clips, fps: str) -> None:
    sets = ("--set", "encoders.video.sampling=fps", "--set", f"encoders.video.fps={fps}")
    output = made.train([GOOD], *sets, code=2)
    assert "`encoders.video.fps` must be > 0" in output
    assert "must be > 0" in str(made.place.run("check", "recipe.toml", *sets, code=2).output)


def test_a_sound_shorter_than_a_window(made: Clips) -> None:
    row = {"id": "short", "video": "good.mp4", "segments": segments((0.5, 0.505), (0.5, 0.501))}
    made.train([GOOD, row])


def test_a_modality_that_some_rows_lack_is_fine_that_all_lack_is_not(made: Clips) -> None:
    made.place.replace('field = "video"', 'field = "sound"')
    made.train([GOOD, {**GOOD, "id": "other", "sound": "good.mp4"}])
    output = made.train([{**GOOD, "sound": None}], "--out", "again", code=2)
    assert "encoder `sound` reads field `sound`, which is empty in every row" in output
    output = made.train([GOOD], "--out", "again", code=2)
    assert "no row of train.jsonl has a field `sound`" in output


def test_two_samples_with_one_id(made: Clips) -> None:
    output = made.train([GOOD, {**GOOD, "label": "other"}], code=2)
    for part in ("`good`", "train.jsonl:1", "train.jsonl:2"):
        assert part in output
