"""Streaming 10 million rows from 10,000 shards: start-up, memory, rows a second against peers, and going on far behind.

The rows are lines of JSON (an id, a text, a label), made in a temporary folder (1.3 GB); they are read as a rank reads them,
from 16 lanes in turn with a buffer of 1000 rows. Peers, of the same files and with the same buffer: `datasets` streaming for
the lines, `webdataset` for tar shards of pictures with captions. `--quick` takes 300 shards and 150,000 rows.
Targets: first row within 5 s of a fresh process, memory flat within 50 MB, going on at row 1,000,000 (30,000) within
twice the time of row 100, and 0.9 of the peers' rows a second of processor time, at least.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

LANES, BUFFER = 16, 1000
STARTUP, GROWTH, RESUMING, RATIO = 5.0, 50.0, 2.0, 0.9
FULL, QUICK = (10_000, 1000, 1_000_000), (300, 500, 30_000)
"""Shards, rows of each, and the row behind which reading goes on."""
TARS, PAIRS, PICTURE = 40, 250, 4096
ROUNDS = 3
START = """
import time; began = time.time()
import sys; sys.path.insert(0, {here!r})
import streaming
next(streaming.ours({folder!r}))
import psutil; print(time.time() - psutil.Process().create_time())
"""


def main() -> int:
    """Print a line a figure; 1 if a target is missed."""
    shards, rows, far = QUICK if "--quick" in sys.argv else FULL
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        lines(folder, shards, rows)
        tars(folder)
        print(f"{shards} shards, {shards * rows} rows", flush=True)
        missed = started(folder) > STARTUP
        missed |= grown(folder, shards * rows) > GROWTH
        missed |= gone_on(folder, far) > RESUMING
        several = {"JSON lines, against datasets": (ours, datasets_peer, min(200_000, shards * rows))}
        several["tar, against webdataset"] = (ours_of_tar, webdataset_peer, TARS * PAIRS)
        for name, (own, peer, count) in several.items():
            missed |= compared(folder, name, own, peer, count) < RATIO
    print(f"targets: {'missed' if missed else 'met'}")
    return int(missed)


def lines(folder: Path, shards: int, rows: int) -> None:
    """Shards of JSON lines."""
    (folder / "lines").mkdir()
    text = "a row of a text that says nothing in particular, in words of usual length"
    for shard in range(shards):
        several = (f'{{"id": {shard * rows + row}, "text": "{text} {row}", "label": {row % 10}}}\n' for row in range(rows))
        (folder / "lines" / f"{shard:05}.jsonl").write_text("".join(several))


def tars(folder: Path) -> None:
    """Shards of pictures, that are none, with captions."""
    (folder / "tars").mkdir()
    picture = os.urandom(PICTURE)
    for shard in range(TARS):
        with tarfile.open(folder / "tars" / f"{shard:05}.tar", "w") as tar:
            for row in range(PAIRS):
                for ending, data in (("jpg", picture), ("txt", b"a caption"), ("json", b'{"width": 640}')):
                    member = tarfile.TarInfo(f"{shard * PAIRS + row:08}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def stream(folder: Path | str) -> Any:
    """The lines as a stream."""
    from a2a_streaming.jsonl import StreamingJsonlSource

    return StreamingJsonlSource(path=f"{folder}/lines/*.jsonl", shuffle=BUFFER).build()


def in_turn(lanes: list[Any]) -> Iterator[Any]:
    """A row of each lane, and again, to the end of all."""
    going = [iter(lane) for lane in lanes]
    while going:
        for lane in list(going):
            row = next(lane, None)
            if row is None:
                going.remove(lane)
            else:
                yield row


def ours(folder: Path | str) -> Iterator[Any]:
    """Rows of the lines."""
    opened = stream(folder)
    return in_turn([opened.lane(lane, LANES, 0, 0, None) for lane in range(LANES)])


def datasets_peer(folder: Path) -> Iterator[Any]:
    """The same by `datasets`."""
    import datasets

    datasets.disable_progress_bars()
    data = datasets.load_dataset("json", data_files=f"{folder}/lines/*.jsonl", split="train", streaming=True)
    return iter(data.shuffle(seed=0, buffer_size=BUFFER))


def ours_of_tar(folder: Path) -> Iterator[Any]:
    """Rows of the archives."""
    from a2a_streaming.webdataset import WebDatasetSource

    opened = WebDatasetSource(path=f"{folder}/tars/*.tar", shuffle=BUFFER).build()
    return in_turn([opened.lane(lane, LANES, 0, 0, None) for lane in range(LANES)])


def webdataset_peer(folder: Path) -> Iterator[Any]:
    """The same by `webdataset`: texts and JSON decoded, pictures as bytes."""
    import webdataset

    files = sorted(map(str, (folder / "tars").glob("*.tar")))
    data = webdataset.WebDataset(files, shardshuffle=len(files), seed=0).shuffle(BUFFER).decode(only=["txt", "json"])
    return iter(data)


def started(folder: Path) -> float:
    """Seconds from the beginning of a process to the first row."""
    script = START.format(here=str(Path(__file__).parent), folder=str(folder))
    took = float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
    print(f"first row of a fresh process: {took:.2f} s (target: {STARTUP:g})", flush=True)
    return took


def grown(folder: Path, rows: int) -> float:
    """Megabytes that the process takes more, at the most, while all is read."""
    process, found = psutil.Process(), ours(folder)
    at_first = next_rows(found, rows // 100)
    begin = highest = process.memory_info().rss
    began, count = time.perf_counter(), at_first
    while given := next_rows(found, rows // 100):
        count += given
        highest = max(highest, process.memory_info().rss)
    rate = (count - at_first) / (time.perf_counter() - began)
    if count != rows:
        raise SystemExit(f"{count} of {rows} rows came")
    growth = (highest - begin) / 1e6
    print(f"memory from row {at_first} to {count}: {begin / 1e6:.0f} MB and {growth:.1f} more (target: {GROWTH:g})")
    print(f"the whole epoch: {rate:.0f} rows/s", flush=True)
    return growth


def next_rows(rows: Iterator[Any], several: int) -> int:
    """Read on; how many there were."""
    return sum(1 for _ in islice(rows, several))


def gone_on(folder: Path, far: int) -> float:
    """Time to the next row of a state at row `far` over that of one at row 100."""
    opened = stream(folder)
    lanes = [opened.lane(lane, LANES, 0, 0, None) for lane in range(LANES)]
    rows, states = in_turn(lanes), []
    for several in (100, far - 100):
        next_rows(rows, several)
        states.append(json.dumps([lane.state() for lane in lanes]))
    times: list[list[float]] = [[], []]
    for _ in range(3 * ROUNDS):
        for state, took in zip(states, times, strict=True):
            began = time.perf_counter()
            again = stream(folder)
            next(in_turn([again.lane(lane, LANES, 0, 0, at) for lane, at in enumerate(json.loads(state))]))
            took.append(time.perf_counter() - began)
    near, behind = map(statistics.median, times)
    print(f"going on at row 100: {near:.3f} s; at row {far}: {behind:.3f} s, {behind / near:.2f}x (target: {RESUMING:g}x)")
    print(f"state of {LANES} lanes: {len(states[1])} bytes", flush=True)
    return behind / near


def compared(folder: Path, name: str, own: Any, peer: Any, count: int) -> float:
    """Our rows a second over the peer's, medians of interleaved rounds, after the first thousand rows."""
    rates: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for make, rate in zip((own, peer), rates, strict=True):
            rows = make(folder)
            next_rows(rows, 1000)
            began = time.process_time()
            rate.append(next_rows(rows, count - 1000) / (time.process_time() - began))
    ratio = statistics.median(rates[0]) / statistics.median(rates[1])
    print(f"{name}: {statistics.median(rates[0]):.0f} rows/s, peer {statistics.median(rates[1]):.0f}, {ratio:.2f}x", flush=True)
    return ratio


if __name__ == "__main__":
    sys.exit(main())
