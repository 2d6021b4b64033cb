"""Processes that end before they are done: the run itself, one of its ranks, one of its data workers."""

from __future__ import annotations

import os
import random
import signal
import time

from faulty.place import RANKS, SHARDED, WHOLES, Child, Place, SkippedError, check, children, processes

KILLS, FEW = 20, 3


def killed(place: Place) -> str:
    """SIGKILL at random moments, every other time while a checkpoint is being written; resumed after each."""
    chance, pace = random.Random(1), place.whole() / KILLS
    kills, saving, child = FEW if place.few else KILLS, 0, place.train("killed")
    for number in range(kills):
        time.sleep(chance.random() * 2 * pace)
        while number % 2 and not place.half_written("killed"):
            check(os.waitpid(child.pid, os.WNOHANG)[0] == 0, f"it ended after {number} kills: {child.said}")
        child.kill()
        saving += place.half_written("killed")
        begun = (place.folder / "killed" / "run.json").exists()
        child = place.resume("killed") if begun else place.train("killed")
    child.end()
    place.same("killed")
    return f"{kills} kills, {saving} of them with a checkpoint half-written; the same weights"


def export_killed(place: Place) -> str:
    """SIGKILL while the trained model is being written."""
    for number in range(20):
        name = f"export-{number}"
        child, left = place.train(name, {"trainer.max_steps": 4}), False
        while not left and os.waitpid(child.pid, os.WNOHANG)[0] == 0:
            left = any((place.folder / name).glob(".model.*.partial"))
        if left:
            child.kill()
            check(not (place.folder / name / "model").exists(), "half a model has the place of a whole one")
            place.resume(name).end()
            place.same(name, "short")
            return "no model but a whole one; resumed, the same weights"
    raise SkippedError("the model is written faster than it can be seen")


def told(place: Place) -> str:
    """SIGTERM, and SIGUSR1 as SLURM sends it before time is up; on one process and on two ranks."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        for whole, values in (("whole", None), ("pair", RANKS))[: 1 if place.few else 2]:
            name = f"told-{number.name}-{whole}"
            child = place.train(name, values)
            place.reaches(name, 8, child)
            child.send(number)
            said = child.end()
            check("a2a train --resume" in said, f"it does not say how to go on: {said}")
            check(not (place.folder / name / "model").exists(), "it did not stop")
            place.resume(name).end()
            place.same(name, whole)
    return "a checkpoint, exit code 0, `a2a train --resume FOLDER` on the screen; resumed, the same weights"


def rank(place: Place, name: str, number: int, child: Child) -> int:
    """The process of a rank, once there is a checkpoint."""
    place.reaches(name, 8, child)
    (found,) = processes(str((place.folder / name).resolve()), RANK=str(number))
    child.send()
    return found


def rank_killed(place: Place) -> str:
    """SIGKILL to one of two ranks."""
    child = place.train("rank", RANKS)
    os.kill(rank(place, "rank", 1, child), signal.SIGKILL)
    said = child.end(code=1, seconds=90)
    check("rank 1" in said and "a2a train --resume" in said, f"it does not say who, or how to go on: {said}")
    place.resume("rank").end()
    place.same("rank", "pair")
    return "exit code 1, naming the rank; resumed, the same weights"


def rank_restarted(place: Place) -> str:
    """The same with `backend.max_restarts = 1`."""
    child = place.train("restarted", {**RANKS, "backend.max_restarts": 1})
    os.kill(rank(place, "restarted", 1, child), signal.SIGKILL)
    child.end()
    place.same("restarted", "pair")
    return "all ranks begin again at the last whole checkpoint; the same weights"


def rank_stopped(place: Place) -> str:
    """SIGSTOP to one of two ranks, with `backend.timeout = 10`: it is there, but answers nobody."""
    child = place.train("stopped", {**RANKS, "backend.timeout": 10})
    os.kill(rank(place, "stopped", 1, child), signal.SIGSTOP)
    began = time.monotonic()
    said = child.end(code=1, seconds=90)
    took = time.monotonic() - began
    check("rank 1" in said and "step" in said and "rows" in said, f"it does not name rank, step and rows: {said}")
    check(not processes(str((place.folder / "stopped").resolve())), "ranks are left")
    place.resume("stopped").end()
    place.same("stopped", "pair")
    return f"exit code 1 after {took:.0f} s, naming the rank, the step and its rows; resumed, the same weights"


def all_killed(place: Place) -> str:
    """SIGKILL to all processes of a run on two ranks, of each backend."""
    for name in ("pair", *SHARDED):
        child = place.train(f"all-{name}", WHOLES[name])
        place.reaches(f"all-{name}", 8, child)
        for pid in processes(str((place.folder / f"all-{name}").resolve())):
            os.kill(pid, signal.SIGKILL)
        child.kill()
        place.resume(f"all-{name}").end()
        place.same(f"all-{name}", name)
    return f"ddp, {', '.join(SHARDED)}: resumed, the same weights"


def launcher_killed(place: Place) -> str:
    """SIGKILL to the process that started the ranks."""
    child = place.train("launcher", RANKS)
    rank(place, "launcher", 1, child)
    child.kill()
    late = time.monotonic() + 60
    while processes(str((place.folder / "launcher").resolve())):
        check(time.monotonic() < late, "the ranks train on, and nobody can resume the run")
        time.sleep(0.05)
    check(not (place.folder / "launcher" / "model").exists(), "the ranks trained on, to the end")
    place.resume("launcher").end()
    place.same("launcher", "pair")
    return "the ranks end, too; resumed, the same weights"


def worker_killed(place: Place) -> str:
    """SIGKILL to a process that prepares rows (`trainer.workers = 1`), as the kernel does when memory is short."""
    child = place.train("worker", {"trainer.workers": 1})
    place.reaches("worker", 8, child)
    (worker,) = children(child.pid)
    os.kill(worker, signal.SIGKILL)
    child.send()
    said = child.end(code=1)
    check("worker" in said and "a2a train --resume" in said, f"it does not say who, or how to go on: {said}")
    place.resume("worker").end()
    place.same("worker")
    return "exit code 1, saying that a worker was killed; resumed, the same weights"
