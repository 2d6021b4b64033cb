"""A folder in which `a2a` is at work, and what is done to it from outside."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import attrs

STEPS, FEW = 240, 40
RECIPE = """
[data.train]
use = "mix"
[data.train.sources.short]
use = "chat"
path = "short.jsonl"
[data.train.sources.long]
use = "chat"
path = "long.jsonl"
[fusion]
use = "causal-lm"
[fusion.config]
model_type = "llama"
vocab_size = 259
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 2
max_position_embeddings = 256
attention_dropout = 0.1
[heads.answer]
use = "lm"
[losses.answer]
use = "next-token"
head = "answer"
[collator]
use = "chat"
template = "plain"
packing = true
max_length = 64
[trainer]
max_steps = {STEPS}
batch_size = 4
learning_rate = 0.003
log_every = 1
save = "steps"
save_every = 4
keep_last = 3
report_to = []
[backend]
device = "cpu"
"""
Values = dict[str, Any]
RANKS: Values = {"backend.use": "ddp", "backend.processes": 2, "backend.timeout": 30, "trainer.max_steps": 40}
SHARDED: dict[str, Values] = {"fsdp": {**RANKS, "backend.use": "fsdp"}}
SHARDED |= {f"ZeRO-{stage}": {**RANKS, "backend.use": "deepspeed", "backend.stage": stage} for stage in (1, 2, 3)}
WHOLES: dict[str, Values] = {"whole": {}, "short": {"trainer.max_steps": 4}, "pair": RANKS, **SHARDED}
"""Runs that nothing is done to."""


class MissedError(Exception):
    """A fault did not end as it should; the message says how it ended."""


class SkippedError(Exception):
    """A fault that cannot be made on this machine."""


def check(right: bool, *said: object) -> None:
    """MissedError where something is not right."""
    if not right:
        raise MissedError(" ".join(map(str, said)))


@attrs.define
class Child:
    """`a2a` at work in a process, and a process group, of its own."""

    pid: int
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def send(self, number: int = signal.SIGCONT) -> None:
        """A signal; who was stopped goes on, and finds it."""
        os.kill(self.pid, number)
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """The process alone, at once: nothing can be done about it any more, nor said."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def end(self, code: int = 0, seconds: float = 240) -> str:
        """Wait; what it said. MissedError for another exit code, for a traceback, and for one that hangs."""
        late = time.monotonic() + seconds
        while not (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            if time.monotonic() > late:
                os.killpg(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise MissedError(f"no end after {seconds:g} s: {self.said[-2000:]}")
            time.sleep(0.01)
        found = os.waitstatus_to_exitcode(ended[1])
        check(found == code, f"exit code {found}, not {code}: {self.said[-3000:]}")
        check("Traceback" not in self.said, f"a traceback: {self.said[-3000:]}")
        return self.said


@attrs.define
class Place:
    """A folder with data, a recipe and runs, which are called by their folders' names. `few`: try less, for the tests."""

    folder: Path
    few: bool
    wholes: dict[str, float] = attrs.Factory(dict)
    """The seconds that runs took which nothing was done to."""

    def __attrs_post_init__(self) -> None:
        chance = random.Random(0)
        for name, most in (("short", 6), ("long", 30)):
            with (self.folder / f"{name}.jsonl").open("w") as file:
                for index in range(60):
                    said = ["say " + "?" * (index % 9), "a" * chance.randint(1, most)]
                    turns = [{"role": role, "content": each} for role, each in zip(("user", "assistant"), said, strict=True)]
                    file.write(json.dumps({"id": f"{index}", "messages": turns}) + "\n")
        steps = FEW if self.few else STEPS
        (self.folder / "recipe.toml").write_text(RECIPE.replace("{STEPS}", str(steps)))

    def begin(self, *words: str) -> Child:
        """`a2a` with these words."""
        log = self.folder / f"{len(list(self.folder.glob('*.log')))}.log"
        log.touch()
        if (pid := os.fork()) == 0:
            become(self.folder, log, words)
        return Child(pid, log)

    def train(self, name: str, values: Values | None = None) -> Child:
        """A new run."""
        sets = [word for key, value in (values or {}).items() for word in ("--set", f"{key}={value}")]
        return self.begin("train", "recipe.toml", "--out", name, *sets)

    def resume(self, name: str) -> Child:
        """The rest of a run."""
        return self.begin("train", "--resume", name)

    def whole(self, name: str = "whole") -> float:
        """Have one of the runs that nothing was done to; the seconds it took."""
        if name not in self.wholes:
            began = time.monotonic()
            self.train(name, WHOLES[name]).end()
            self.wholes[name] = time.monotonic() - began
        return self.wholes[name]

    def checkpoints(self, name: str) -> list[Path]:
        """Those in their place, the newest last."""
        found = (self.folder / name / "checkpoints").glob("checkpoint-*")
        return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))

    def half_written(self, name: str) -> bool:
        """Whether there is a checkpoint not yet in its place."""
        return any((self.folder / name / "checkpoints").glob(".checkpoint-*.partial"))

    def reaches(self, name: str, step: int, child: Child) -> None:
        """Stop the child when its run has a checkpoint of this step, or of a later one."""
        late = time.monotonic() + 120
        while not any(int(path.name.rpartition("-")[2]) >= step for path in self.checkpoints(name)):
            check(time.monotonic() < late, f"no checkpoint of step {step} after two minutes: {child.said[-2000:]}")
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGSTOP)
        check(not (self.folder / name / "model").exists(), "the run was over before anything was done to it")

    def losses(self, name: str) -> list[tuple[int, float]]:
        """Each step's, as recorded."""
        records = map(json.loads, (self.folder / name / "metrics.jsonl").read_text().splitlines())
        return [(record["step"], record["loss"]) for record in records if record["split"] == "train"]

    def same(self, name: str, wanted: str = "whole") -> None:
        """MissedError unless a run ended as another did: weights to the bit, each step recorded once with the same loss."""
        self.whole(wanted)
        one, other = (self.folder / each / "model" / "model.safetensors" for each in (wanted, name))
        check(one.read_bytes() == other.read_bytes(), f"the weights of `{name}` are others than those of `{wanted}`")
        check(self.losses(name) == self.losses(wanted), f"the history of `{name}` is another than that of `{wanted}`")
        left = [path.name for path in (self.folder / name).rglob("*.partial")]
        check(not left, f"left behind in `{name}`: {left}")


def become(folder: Path, log: Path, words: tuple[str, ...]) -> None:
    """In a child: be `a2a`."""
    from a2a_cli.main import main

    os.setsid()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    sys.argv = ["a2a", *words]
    code: Any = 0
    try:
        main()
    except SystemExit as error:
        code = error.code
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def processes(word: str, **environment: str) -> list[int]:
    """Whose command line holds this word, and whose environment these values."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command, given = ((path / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
        except OSError:
            continue
        if word.encode() in command and all(f"{name}={value}".encode() in given for name, value in environment.items()):
            found.append(int(path.name))
    return found


def children(pid: int) -> list[int]:
    """Of a process, by Linux's own list."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
