"""What happens to files: a full disk, damaged checkpoints, a second run in the same folder, a clock that jumps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faulty.place import Place, SkippedError, check

CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <sys/time.h>
static long jump(void) {  /* days forth, then days back, every other second */
    struct timespec real;
    int (*ask)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    ask(CLOCK_MONOTONIC, &real);
    return (real.tv_sec % 2 ? 400 : -3) * 86400L;
}
int clock_gettime(clockid_t id, struct timespec *out) {
    int (*ask)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = ask(id, out);
    if (!failed && id == CLOCK_REALTIME) out->tv_sec += jump();
    return failed;
}
int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    int (*ask)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
    int failed = ask(out, zone);
    if (!failed) out->tv_sec += jump();
    return failed;
}
"""


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A file system of so many bytes; SkippedError where this process may not mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        raise SkippedError("it takes the right to mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def disk_full(place: Place) -> str:
    """A disk with room for a few checkpoints; given more, the run is resumed."""
    place.whole()
    size = sum(path.stat().st_size for path in place.checkpoints("whole")[-1].rglob("*"))
    disk = place.folder / "disk"
    with small_disk(disk, 9 * size // 2):
        said = place.train("disk/run", {"trainer.keep_last": 0}).end(code=1)
        check("no space left on the disk" in said and "--resume" in said, f"it does not say why, or how to go on: {said}")
        kept = len(place.checkpoints("disk/run"))
        check(kept > 0 and not place.half_written("disk/run"), "no whole checkpoint is left, or a half-written one")
        subprocess.run(["mount", "-o", f"remount,size={200 * size}", str(disk)], check=True)
        place.resume("disk/run").end()
        place.same("disk/run")
    return f"exit code 1, `no space left on the disk`; {kept} checkpoints stay whole; resumed, the same weights"


def truncated(file: Path) -> None:
    """Half of it is there."""
    os.truncate(file, file.stat().st_size // 2)


def flipped(file: Path) -> None:
    """One bit is another."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def emptied(file: Path) -> None:
    """Nothing is in it."""
    file.write_bytes(b"")


def missing(file: Path) -> None:
    """It is gone."""
    file.unlink()


def checkpoint_damaged(place: Place) -> str:
    """Each file of the newest checkpoint cut in half, with one bit flipped, or gone; the three in turn."""
    child = place.train("damaged")
    place.reaches("damaged", 20, child)
    child.kill()
    newest = place.checkpoints("damaged")[-1]
    files = sorted(path.relative_to(newest) for path in newest.rglob("*") if path.is_file())
    files = files[:3] if place.few else files
    for number, file in enumerate(files):
        damage = (truncated, flipped, missing)[number % 3]
        shutil.copytree(place.folder / "damaged", place.folder / f"damaged-{number}")
        damage(place.folder / f"damaged-{number}" / "checkpoints" / newest.name / file)
        said = place.resume(f"damaged-{number}").end()
        check(newest.name in said, f"{file} {damage.__name__}: it does not say that {newest.name} was passed over: {said}")
        place.same(f"damaged-{number}")
    return f"{len(files)} files: each time it says which checkpoint is passed over and why, and goes on from the one before"


def state_lost(place: Place) -> str:
    """A killed run whose `run.json` is empty, half there, or gone."""
    child = place.train("state")
    place.reaches("state", 8, child)
    child.kill()
    for number, damage in enumerate((truncated, missing, emptied)):
        shutil.copytree(place.folder / "state", place.folder / f"state-{number}")
        damage(place.folder / f"state-{number}" / "run.json")
        place.resume(f"state-{number}").end()
        place.same(f"state-{number}")
    return "resumed all the same, to the same weights"


def two_runs(place: Place) -> str:
    """A second `a2a train` into the folder of a run at work, and a `--resume` of it."""
    child = place.train("two")
    place.reaches("two", 4, child)
    for second in (place.train("two"), place.resume("two")):
        said = second.end(code=2)
        check("two" in said and ("running" in said or "exists already" in said or "another process" in said), said)
    child.send()
    child.end()
    place.same("two")
    return "exit code 2 for both, saying why; the first run is not disturbed"


def clock(place: Place) -> str:
    """A clock that jumps 400 days ahead and 3 days back, every second."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SkippedError("it takes a C compiler to lie about the time")
    source, library = place.folder / "clock.c", place.folder / "clock.so"
    source.write_text(CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "a2a_cli", "train", "recipe.toml", "--out", "runs/clock"],
        cwd=place.folder,
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    took = time.monotonic() - began
    check(done.returncode == 0, done.stderr)
    place.same("runs/clock")
    seconds = json.loads((place.folder / "runs" / "clock" / "run.json").read_text())["seconds"]
    check(0 < seconds < took, f"it says it took {seconds} s of {took} s")
    return "the same weights; durations are real"
