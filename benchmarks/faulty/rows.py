"""What data do: rows that make gradients infinite, shards that cannot be read, servers that fail."""

from __future__ import annotations

import json

from faulty.place import RANKS, Child, Place, Values, check
from faulty.server import served

SHARDS, ROWS = 6, 20
STREAM = """
extends = "recipe.toml"
without = ["data.train"]
[data.train]
use = "streaming-jsonl"
timeout = 1.0
[collator]
packing = false
[trainer]
max_steps = 40
save_every = 8
"""


def not_finite(place: Place) -> str:
    """A row on one of two ranks whose loss is infinite (a weight of 3e38)."""
    rows = [json.loads(line) for line in (place.folder / "long.jsonl").read_text().splitlines()]
    rows[7]["messages"][1]["weight"] = 3e38
    (place.folder / "wild.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {**RANKS, "data.train.sources.long.path": "wild.jsonl"}
    said = place.train("wild", values).end(code=1, seconds=90)
    check("is not finite" in said and "its rows are in" in said, f"it does not say what, or where: {said}")
    reports = [json.loads(path.read_text()) for path in (place.folder / "wild" / "nan").glob("*.json")]
    check(
        any("long/7" in row for report in reports for rows in report["ids"] for row in rows), f"the row is not among {reports}"
    )
    return "both ranks stop before the step, with exit code 1; the rows at hand are kept in `nan/`"


def streamed(place: Place, name: str, location: str, values: Values | None = None) -> Child:
    """A training on shards, which are written where there are none yet."""
    folder = place.folder / "shards"
    if not folder.exists():
        folder.mkdir()
        lines = (place.folder / "long.jsonl").read_text().splitlines()
        for shard in range(SHARDS):
            text = "\n".join(lines[ROWS * shard % len(lines) :][:ROWS]) + "\n"
            (folder / f"{shard}.jsonl").write_text(text)
        (folder / "lost.jsonl").write_text(text)
        (place.folder / "stream.toml").write_text(STREAM)
    sets = [word for key, value in (values or {}).items() for word in ("--set", f"{key}={value}")]
    return place.begin("train", "stream.toml", "--out", name, "--set", f"data.train.path={location}", *sets)


def server_failing(place: Place) -> str:
    """Shards over http: every third request is answered 500, with half a body, or after 3 s (`timeout = 1.0`)."""
    streamed(place, "local", f"shards/{{0..{SHARDS - 1}}}.jsonl").end()
    place.wholes["local"] = 0.0
    with served(place.folder / "shards") as url:
        streamed(place, "http", f"{url}/{{0..{SHARDS - 1}}}.jsonl").end()
    place.same("http", "local")
    check(not (place.folder / "http" / "quarantine.jsonl").exists(), "rows were set aside")
    happened = (place.folder / "shards" / "faults").read_text().split()
    check(set(happened) == {"500", "half", "slow"}, f"the server was not wicked enough: {happened}")
    return f"{len(happened)} requests are made again, after 0.5 s, 1 s, ...; the same weights as from local files"


def shard_lost(place: Place) -> str:
    """One of six shards that the server never gives (500)."""
    with served(place.folder / "shards") as url:
        given = {"bad_rows": 0.2, "data.train.retries": 1, "data.train.timeout": 5.0}
        shards = ", ".join(f'"{url}/{name}.jsonl"' for name in (*range(SHARDS - 1), "lost"))
        said = streamed(place, "lost", f"[{shards}]", given).end()
    records = [json.loads(line) for line in (place.folder / "lost" / "quarantine.jsonl").read_text().splitlines()]
    check("lost.jsonl" in said and len(records) == 1 and "500" in records[0]["reason"], f"{records}: {said}")
    return "set aside with its reason, once, in `quarantine.jsonl` and on the screen; the others are trained on"
