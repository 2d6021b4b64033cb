"""A run over tar shards: media out of archives, workers, an epoch's end, and a shard that is cut off."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

TRAIN = """
[data.train]
use = "webdataset"
path = "shard-{0..3}.tar"
columns = { image = "png", sound = "wav", label = "cls" }
shuffle = 8
[data.validation]
use = "webdataset"
path = ["shard-0.tar"]
columns = { image = "png", sound = "wav", label = "cls" }
"""
STREAMED = ["--set", 'heads.shape.classes=["dark", "light"]', "--set", "trainer.max_steps=20", "--set", "bad_rows=0.2"]


def shards(place: Any, count: int) -> list[int]:
    """The rows of the workplace as archives; how many each has."""
    rows = place.rows()
    for shard in range(count):
        with tarfile.open(place.folder / f"shard-{shard}.tar", "w") as archive:
            for row in rows[shard::count]:
                media = {Path(row[field]).suffix[1:]: row[field] for field in ("image", "sound") if row.get(field)}
                files = {ending: (place.folder / name).read_bytes() for ending, name in media.items()}
                for ending, data in (files | {"cls": row["label"].encode()}).items():
                    member = tarfile.TarInfo(f"{row['id']}.{ending}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return [len(rows[shard::count]) for shard in range(count)]


def test_tar_shards_are_trained_on(place: Any) -> None:
    sizes = shards(place, 4)
    cut = place.folder / "shard-3.tar"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    recipe = place.recipe.read_text().replace("epochs = 2\n", "workers = 1\n")
    place.recipe.write_text(TRAIN + recipe[recipe.index("[encoders.image]") :])
    done = place.run("train", "recipe.toml", "--out", "run", *STREAMED)
    assert "[data.train] 4 shards, shard-0.tar the first" in done.output
    run = json.loads((place.folder / "run" / "run.json").read_text())
    assert run["results"]["validation"]["accuracy"] == 1.0
    lost = (place.folder / "run" / "quarantine.jsonl").read_text().splitlines()
    assert {json.loads(line)["place"] for line in lost} == {"shard-3.tar"}
    assert sizes[3] > 1, "of which the first row could be read"
