"""Sources of different modalities in one run, and samples that cannot be read."""

import json
from typing import Any

MIX = """
[data.train]
use = "mix"
temperature = 2.0
[data.train.sources.pictures]
use = "jsonl"
path = "pictures.jsonl"
[data.train.sources.sounds]
use = "jsonl"
path = "sounds.jsonl"
[data.train.sources.pairs]
use = "jsonl"
path = "pairs.jsonl"
[data.train.sources.words]
use = "jsonl"
path = "words.jsonl"
[data.pictures]
use = "jsonl"
path = "pictures.jsonl"
[data.sounds]
use = "jsonl"
path = "sounds.jsonl"
[data.words]
use = "jsonl"
path = "words.jsonl"
[encoders.text]
use = "embedding"
width = 8
"""


def test_sources_of_different_modalities_train_together(place: Any) -> None:
    rows = [row for row in place.rows() if row.get("image") and row.get("sound")]
    words = {"dark": "low and dim", "light": "bright and high"}
    for name, fields in {"pictures": ["image"], "sounds": ["sound"], "pairs": ["image", "sound"]}.items():
        place.write([{field: row[field] for field in ["id", *fields, "label"]} for row in rows], name)
    place.write([{"text": words[label], "label": label} for label in ("dark", "light") for _ in range(4)], "words")
    recipe = place.recipe.read_text()
    place.recipe.write_text(MIX + recipe[recipe.index("[data.validation]") :])
    place.run("train", "recipe.toml", "--out", "run", "--set", "trainer.epochs=6")
    results = json.loads((place.folder / "run" / "run.json").read_text())["results"]
    assert {split: results[split]["accuracy"] for split in ("pictures", "sounds", "words")} == {
        "pictures": 1.0,
        "sounds": 1.0,
        "words": 1.0,
    }


def test_a_bad_segment_is_set_aside_by_its_own_name(place: Any) -> None:
    rows = place.rows()
    segments = [{"start": 0, "end": 0.05}, {"start": 7, "end": 9}, {"start": 0.05, "end": 0.1}]
    rows[1] = {**rows[1], "segments": segments}
    for row in rows:
        row.setdefault("segments", [{}])
    rows[2]["segments"] = []
    place.write(rows)
    options = ("--set", "data.train.explode=segments", "--set", "trainer.max_steps=4")
    result = place.run("train", "recipe.toml", "--out", "run", *options, "--set", "bad_rows=0.05")
    assert f"1 of {len(rows)} rows of train.jsonl have nothing in `segments` and give no sample" in result.output
    [bad] = [json.loads(line) for line in (place.folder / "run" / "quarantine.jsonl").read_text().splitlines()]
    assert (bad["place"], bad["id"]) == ("train.jsonl:2 segments[1]", "train-1#1")
    assert "lies past the end of the recording" in bad["reason"]
    assert bad["row"]["start"] == 7
    result = place.run("train", "recipe.toml", "--out", "strict", *options, code=2)
    assert f"1 of {len(rows) + 1} rows of `train` are bad, more than `bad_rows` = 0.01 allows" in result.output


def test_equal_ids_end_the_run_before_it_begins(place: Any) -> None:
    rows = place.rows()
    place.write([*rows, rows[3]])
    result = place.run("train", "recipe.toml", "--out", "run", code=2)
    assert f"[data.train] two rows have the id `train-3`: train.jsonl:4 and train.jsonl:{len(rows) + 1}" in result.output
    place.run("train", "recipe.toml", "--out", "run", "--set", "trainer.max_steps=1", "--set", 'data.train.id=""')
