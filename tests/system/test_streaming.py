"""Rows that come as a stream, on the command line and on several ranks."""

import json
import shutil
from typing import Any

import pytest

from a2a_core.runs import Run

RANKS = ("--set", "backend.use=ddp", "--set", "backend.processes=2")
SAVED = ("--set", 'trainer.save="steps"', "--set", "trainer.save_every=2", "--set", "trainer.keep_last=0")


@pytest.fixture
def streams(place: Any) -> Any:
    """The recipe over streams: 24 rows in 3 shards, 8 a step, dropout, and classes that it names itself."""
    rows = place.rows()
    (place.folder / "shards").mkdir()
    for shard in range(3):
        for row in rows[shard::3]:
            row |= {key: f"../{row[key]}" for key in ("image", "sound") if row.get(key)}
        (place.folder / "shards" / f"{shard}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[shard::3]))
    place.replace('use = "jsonl"\npath = "train.jsonl"', 'use = "streaming-jsonl"\npath = "shards/*.jsonl"\nshuffle = 8')
    place.replace('use = "jsonl"', 'use = "streaming-jsonl"')
    place.replace('use = "classify"', 'use = "classify"\nfield = "label"\nclasses = ["dark", "light"]')
    place.replace("epochs = 2", "max_steps = 8")
    return place


def test_a_run_over_a_stream_goes_on_with_other_ranks(streams: Any) -> None:
    streams.run("train", "recipe.toml", "--out", "runs/alone", *SAVED)
    alone = {record["step"]: record["loss"] for record in streams.history("runs/alone")}
    assert [record["step"] for record in streams.history("runs/alone", "validation")] == [3, 6, 8]

    shutil.copytree(streams.folder / "runs" / "alone", streams.folder / "runs" / "moved")
    run = Run(streams.folder / "runs" / "moved")
    for step in (4, 6, 8):
        shutil.rmtree(run.checkpoints / f"checkpoint-{step}")
    shutil.rmtree(run.model)
    run.update(status="running")
    result = streams.run("train", "--resume", "runs/moved", *RANKS)
    assert run.status == "done", result.output
    moved = {record["step"]: record["loss"] for record in streams.history("runs/moved")}
    assert moved == pytest.approx(alone, rel=1e-4), "the rows of every step are the same, on one rank and on two"

    position = json.loads((run.checkpoints / "checkpoint-8" / "data.json").read_text())
    assert [each["epoch"] for each in position] == [2, 2]
    assert {int(lane) % 2 for lane in position[1]["states"]} == {1}
    measured = json.loads(streams.run("eval", "runs/moved", "--split", "validation", "--json").stdout)
    last = streams.history("runs/moved", "validation")[-1]
    assert measured["results"]["validation"]["accuracy"] == pytest.approx(last["accuracy"])
    predicted = streams.run("predict", "runs/moved", "shards/0.jsonl").stdout.splitlines()
    assert [json.loads(line)["predictions"]["shape"] in ("dark", "light") for line in predicted] == [True] * 8


def test_checks_look_at_the_first_rows(streams: Any) -> None:
    output = streams.run("check", "recipe.toml", "--deep").output
    assert "the first of the stream of `train`" in output
    assert "recipe.toml is fine" in output
    dry = json.loads(streams.run("train", "recipe.toml", "--dry-run", "--json").stdout)
    assert dry["rows"] == {"train": "a stream", "validation": "a stream"}


def test_what_all_rows_would_have_to_tell_is_asked_for(streams: Any) -> None:
    streams.replace('classes = ["dark", "light"]', "")
    for words in (("train", "recipe.toml"), ("check", "recipe.toml", "--deep")):
        output = streams.run(*words, code=2).output
        assert "[heads.shape] `label` would have to be read in all rows, and they come as a stream" in output
        assert "classes = […]" in output
