"""What a run writes down on the way: terms, speed, evaluations, bad rows."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from transformers import TrainingArguments

from a2a_core import A2AError, Problem, Row
from a2a_core.data import BadRow
from a2a_core.ranks import gathered
from a2a_core.reasons import Tally, problems
from a2a_core.reporter import Reporter
from a2a_core.runs import Run, parsed
from a2a_core.streams import JUDGED_OVER


class Record:
    """Collects between two records of Trainer, and writes `metrics.jsonl`."""

    def __init__(self, run: Run, reporter: Reporter, terms: list[str], main: bool) -> None:
        self.run, self.reporter, self.names, self.main = run, reporter, sorted(terms), main
        self.sums: dict[str, Tensor] = {}
        self.current: dict[str, Tensor] = {}
        self.seen, self.tokens, self.steps, self.since = 0, 0, 0, time.perf_counter()
        lines = run.metrics.read_text(encoding="utf-8").splitlines() if main and run.metrics.is_file() else ()
        self.evaluations = {(record.get("step"), record.get("split")) for record in map(parsed, lines)}
        """Steps and splits that are in the history already, from before the run was interrupted too."""

    def term(self, name: str, share: Tensor) -> None:
        """A term's share of a step's mean, of one micro-batch on this rank."""
        self.current[name] = self.current[name] + share if name in self.current else share

    def rows(self, several: int, tokens: int) -> None:
        """Rows trained on, and their tokens."""
        self.seen += several
        self.tokens += tokens

    def step(self) -> None:
        """An optimizer step is done."""
        for name, share in self.current.items():
            self.sums[name] = self.sums[name] + share if name in self.sums else share
        self.steps += bool(self.current)
        self.current = {}

    def discard(self) -> None:
        """The step at hand is skipped: its losses are not those of the run."""
        self.current = {}

    def take(self, args: TrainingArguments, weights: Mapping[str, float]) -> dict[str, float]:
        """The loss, each term's mean, and rows and tokens a second, since the last call."""
        values = torch.stack([self.sums.get(name, torch.zeros((), device=args.device)) for name in self.names])
        values = torch.cat(
            [values.double() / max(1, self.steps) / args.world_size, values.new_tensor([self.seen, self.tokens]).double()]
        )
        if args.world_size > 1:
            dist.all_reduce(values)
        now = time.perf_counter()
        *terms, seen, tokens = values.tolist()
        found = {"loss": sum(weights[name] * value for name, value in zip(self.names, terms, strict=True))}
        found |= {f"loss/{name}": value for name, value in zip(self.names, terms, strict=True)}
        if not self.steps:
            found = dict.fromkeys(found, math.nan)  # every step since was skipped
        found["samples_per_second"] = seen / max(now - self.since, 1e-9)
        found["tokens_per_second"] = tokens / max(now - self.since, 1e-9)
        self.sums, self.seen, self.tokens, self.steps, self.since = {}, 0, 0, 0, now
        return found

    def logged(self, step: int, values: Mapping[str, Any]) -> None:
        """One record of training."""
        if self.main:
            self.run.append(self.run.metrics, {"step": step, "split": "train", **values})
            self.reporter.log(step, values)

    def evaluated(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """One split's evaluation; the best weights, evaluated again when all is over, give what is there already."""
        if self.main and (step, split) not in self.evaluations:
            self.evaluations.add((step, split))
            self.run.append(self.run.metrics, {"step": step, "split": split, **values})
            self.reporter.evaluated(step, split, values)
        self.since = time.perf_counter()  # evaluation is not training time


class Quarantine:
    """Rows that are not used: written once each. Too many bad ones end the run, and so does one that the recipe forbids."""

    def __init__(self, run: Run, reporter: Reporter, limit: float, lengths: Mapping[str, int], main: bool) -> None:
        self.run, self.reporter, self.limit, self.lengths, self.main = run, reporter, limit, lengths, main
        self.tally = Tally()
        self.reading: set[str] = set()
        """Streams whose rows are not counted to the end yet: `lengths` are those that came so far."""
        self.places: dict[str, set[str]] = {split: set() for split in lengths}
        """Bad rows, by split."""
        self.left_out: dict[str, set[str]] = {split: set() for split in lengths}
        for line in run.quarantine.read_text(encoding="utf-8").splitlines() if run.quarantine.is_file() else ():
            record = parsed(line)
            kind, split = record.get("kind", "bad"), str(record.get("split"))
            if kind != "unwanted":  # that one ends this start, too
                kept = self.left_out if kind == "left out" else self.places
                kept.setdefault(split, set()).add(str(record.get("place")))

    def seen(self, split: str, rows: int, all_of_them: bool) -> None:
        """A stream gave so many rows; its bad ones are judged by what share of them they are."""
        self.lengths[split] = rows
        if all_of_them:
            self.reading.discard(split)
            self.judge(split, {}, True)
        else:
            self.reading.add(split)

    def add(self, split: str, bad: list[BadRow]) -> None:
        """Called on every rank alike; A2AError when the split has more than the limit."""
        bad = [row for rows in gathered(bad) for row in rows]
        new = {each.row.place: each for each in bad if each.row.place not in self.places[split] | self.left_out[split]}
        for row, reason, kind in new.values() if self.main else ():
            record = {"split": split, "place": row.place, "id": row.id, "reason": reason, "row": dict(row.fields)}
            self.run.append(self.run.quarantine, record | ({} if kind == "bad" else {"kind": kind}))
        unwanted = [(row, reason) for row, reason, kind in new.values() if kind == "unwanted"]
        if unwanted:
            raise A2AError(problems(unwanted))
        self.left_out[split] |= {place for place, each in new.items() if each.kind == "left out"}
        fresh = {place: (each.row, each.reason) for place, each in new.items() if each.kind == "bad"}
        self.places[split] |= fresh.keys()
        self.judge(split, {each.row.place: (each.row, each.reason) for each in bad if each.kind == "bad"})
        for row, reason in fresh.values():
            if self.tally.worth(reason):
                self.reporter.note(f"{row.place} (id {row.id}) is set aside: {reason}")

    def judge(self, split: str, wrong: Mapping[str, tuple[Row, str]], over: bool = False) -> None:
        """A2AError when the split has more bad rows than the limit, these among them, or all of it was read."""
        count, length, reading = len(self.places[split]), self.lengths[split], split in self.reading
        most = self.limit * (max(length, JUDGED_OVER) if reading else length)
        if count > most and (wrong or over):
            of = f"the first {length}" if reading else f"{length}"
            summary = f"{count} of {of} rows of `{split}` are bad, more than `bad_rows` = {self.limit:g} allows"
            hint = f"mend them, or raise `bad_rows`; reasons: {self.run.quarantine}"
            raise A2AError([*problems(wrong.values()), Problem(summary, hint=hint)])

    def conclude(self) -> None:
        """How many rows were not named on the screen."""
        for split, several in self.left_out.items():
            if several:
                self.reporter.note(f"{len(several)} rows of `{split}` were left out; see {self.run.quarantine}")
        for text in self.tally.rest():
            self.reporter.note(f"{text}; see {self.run.quarantine}")
