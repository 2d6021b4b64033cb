"""One run, from its first step (or the checkpoint it goes on from) to its results and its export."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import EarlyStoppingCallback, PrinterCallback, TrainerState

from a2a_core import A2AError
from a2a_core.data import Batches, Prepared, Streamed
from a2a_core.export import export
from a2a_core.job import Job, Result
from a2a_hf.arguments import arguments
from a2a_hf.best import more_is_better
from a2a_hf.checkpoint import note_best
from a2a_hf.distinct import fields, keys
from a2a_hf.engine import Engine
from a2a_hf.record import Quarantine, Record
from a2a_hf.signals import interruptible
from a2a_hf.streaming import refuse_distinct
from a2a_hf.trainer import HfTrainer


class HfFit:
    """See TrainerConfig.build."""

    def __init__(self, config: HfTrainer, job: Job) -> None:
        self.config, self.job = config, job
        self.splits = {split: data for split, data in job.data.items() if split not in ("train", "test")}
        config.refuse(job.recipe, job.model)
        job.recipe.backend.refuse(job.recipe, job.model)
        best, higher = self.best()
        self.args = arguments(config, job, self.splits, best, higher)
        self.refuse_places()
        main = self.args.process_index == 0
        self.record = Record(job.run, job.reporter, list(job.model.weights()), main)
        lengths = {split: len(data) if isinstance(data, Prepared) else 0 for split, data in job.data.items()}
        self.quarantine = Quarantine(job.run, job.reporter, job.recipe.bad_rows, lengths, main)
        callbacks: list[TrainerCallback] = [callback.build(job) for callback in job.recipe.callbacks.values()]
        if config.patience:
            callbacks.append(EarlyStoppingCallback(config.patience, config.patience_threshold))
        self.engine = Engine(config, job, self.args, self.splits, self.record, self.quarantine, callbacks)
        self.engine.remove_callback(PrinterCallback)
        self.engine.add_callback(Watch(self.engine, job, self.record))

    def best(self) -> tuple[str, bool]:
        """The metric that tells the best checkpoint, and whether more of it is better."""
        name = self.config.best or "loss"
        said = self.config.higher_is_better
        return name, more_is_better(self.job.recipe, name) if said is None else said

    def fit(self) -> Result:
        """See Fit.fit."""
        job, began = self.job, time.perf_counter()
        if job.resume is not None:  # Trainer would load them when it trains; features are those of the weights
            self.engine.load_weights(job.resume)
        self.keep_apart()
        job.cache_features(self.args.device, self.engine.accelerator.autocast, self.config.workers)
        for split in job.data:
            self.group(split)
        self.record.since = time.perf_counter()
        with interruptible(self.engine, self.args.process_index == 0), self.engine.checkpoints.written():
            self.train()
        steps = self.engine.state.global_step
        if not self.engine.learned and job.resume is None and not self.engine.interrupted:
            self.quarantine.conclude()
            raise A2AError("no row of `train` could be used: nothing was trained", hint=f"{job.run.quarantine} says why")
        if self.engine.interrupted and not ended(self.engine.state, self.config.patience):
            self.quarantine.conclude()
            return Result(self.engine.interrupted, steps, {}, time.perf_counter() - began)
        if self.config.load_best and self.engine.state.best_model_checkpoint is None:
            best = self.engine.state.best_global_step
            why = f"checkpoint-{best}, the best one, is gone" if best else "no evaluation came before the end"
            job.reporter.note(f"{why}: the last weights are exported, not the best")
        results = {split: self.engine.result(split) for split in job.data if split != "train"}
        self.quarantine.conclude()
        weights = self.engine.holding.weights()
        if self.args.process_index == 0:
            export(job.model, job.run.model, weights)
        return Result("done", steps, results, time.perf_counter() - began)

    def group(self, split: str) -> None:
        """Let a split's rows share places in batches, where the collator does that."""
        found = self.job.group(split, self.config.workers)
        if found is None:
            return
        self.engine.groups_of[split] = found.groups
        self.quarantine.add(split, found.bad)
        found.keep()
        rows = sum(map(len, found.groups))
        several = len(self.quarantine.left_out.get(split, ()))
        left = f"; {several} are left out: {self.job.run.quarantine} says why" if several else ""
        self.job.reporter.note(f"{rows} rows of `{split}` share {len(found.groups)} places in batches{left}")

    def refuse_places(self) -> None:
        """What tells rows of a step apart has no use for places that several rows share."""
        if self.job.collate.group is None:
            return
        hint = "leave packing and buckets out of [collator]"
        if self.config.chunked(self.job.recipe, self.args.world_size):
            hint += ", or set `trainer.micro_batch = 0`"
            raise A2AError("rows share places in batches, and chunks of the gradient cache would tear them apart", hint=hint)
        if names := fields(self.job.model.parts):
            raise A2AError(f"no two rows of a step may share `{names[0]}`, and rows share places in batches", hint=hint)

    def keep_apart(self) -> None:
        """Let no step hold two rows that a loss wants apart; say so where that makes steps smaller."""
        job, rows, data = self.job, self.args.per_device_train_batch_size, self.job.data["train"]
        if isinstance(data, Streamed):
            refuse_distinct(job.model.parts)
            return
        self.engine.keys = found = keys(job.model.parts, data)
        self.refuse_alone(len(data) if found is None else len(set(found)))
        if found is None:
            return
        plain, steps = (len(Batches(len(found), rows, ranks=self.args.world_size, keys=each)) for each in (None, found))
        if steps > plain:
            names = " and ".join(f"`{name}`" for name in fields(job.model.parts))
            frequent = f"a step holds no two rows with the same {names}, and one value stands in {steps} of {len(found)} rows"
            job.reporter.note(f"{frequent}: an epoch has {steps} steps, not {plain}, of {len(found) / steps:.0f} rows or so")

    def refuse_alone(self, most: int) -> None:
        """Losses that compare the rows of a step learn nothing where none has more than `most` of them."""
        for key, loss in self.job.model.parts.losses.items():
            if loss.least() > most:
                names = " and ".join(f"`{name}`" for name in fields(self.job.model.parts))
                apart = f" of different {names}" if names else ""
                text = f"`train` has {most} row(s){apart}, and loss `{key}` compares the rows of a step with one another"
                raise A2AError(text, hint=f"it needs {loss.least()} at least; more are better")

    def train(self) -> None:
        """From the first step, from a checkpoint, or not at all: a run may have been killed after its last step."""
        engine, checkpoint = self.engine, self.job.resume
        if checkpoint is None:
            engine.train()
            return
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        *_, state.max_steps = engine.set_initial_training_values(self.args, engine.get_train_dataloader())
        if not ended(state, self.config.patience):
            engine.train(resume_from_checkpoint=str(checkpoint))
            return
        if 0 < state.max_steps < state.global_step:
            asked = f"{state.max_steps} steps, and {state.global_step} are done"
            self.job.reporter.note(f"the recipe asks for {asked}: nothing more is trained, and none is taken back")
        engine.state, state.best_model_checkpoint = state, None
        note_best(engine, checkpoint.parent)
        if self.config.load_best and state.best_model_checkpoint is not None:
            engine._load_best_model()


def ended(state: TrainerState, patience: int) -> bool:
    """Whether training was over: all steps done, or no better evaluation for too long."""
    early: Any = state.stateful_callbacks.get(EarlyStoppingCallback.__name__) or {}
    counter = early.get("attributes", {}).get("early_stopping_patience_counter", 0) if isinstance(early, dict) else 0
    return state.global_step >= state.max_steps > 0 or 0 < patience <= counter


class Watch(TrainerCallback):
    """Stops after a step when the user asked for it, compares what runs with what was asked, and shows progress."""

    def __init__(self, engine: Engine, job: Job, record: Record) -> None:
        self.engine, self.job, self.record = engine, job, record
        self.save_later = False
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in job.model.parameters()]
        self.trainable, self.total = sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)
        """Numbers that are trained, and all: counted before a backend may leave nothing of them here."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The model is wrapped by now."""
        engine = self.engine
        self.job.recipe.backend.verify(
            {
                "world_size": args.world_size,
                "device": args.device.type,
                "distributed_type": str(engine.accelerator.distributed_type.value),
                "wrapper": type(getattr(engine.model_wrapped, "_orig_mod", engine.model_wrapped)).__name__,
            }
        )
        engine.verify_precision()
        if args.world_size > 1:
            self.job.reporter.note(f"{args.world_size} ranks, by `{self.job.recipe.backend.name}`")
        self.job.reporter.start(state.max_steps, state.global_step, self.trainable, self.total)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ctrl-C ends the run here, with a checkpoint; after an epoch's last step it is written with the epoch's evaluation."""
        self.record.step()
        self.job.reporter.step(state.global_step)
        if self.engine.interrupted:
            control.should_save = control.should_training_stop = True
        self.save_later = control.should_save and self.engine.epochs.over()
        if self.save_later:
            control.should_save = False

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """An epoch that was broken off is not evaluated, and its checkpoint is there."""
        if self.engine.interrupted and not self.engine.epochs.over():
            control.should_evaluate = control.should_save = False
        elif self.save_later:
            control.should_save = True
