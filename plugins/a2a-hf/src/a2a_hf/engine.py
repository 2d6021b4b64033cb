"""transformers.Trainer with our losses, data, groups and checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import EarlyStoppingCallback, TrainerCallback

from a2a_core import A2AError, Batch, RunFailed, heartbeat, manifest
from a2a_core.data import BadRow, Batches, Collate, Loader, Prepared, Streamed, load
from a2a_core.evaluate import build_metrics, evaluate, moved
from a2a_core.flow import Counted, Flow, Once
from a2a_core.job import Job, seed_everything
from a2a_hf.checkpoint import Checkpoints, read_checkpoint, read_weights
from a2a_hf.chunks import Chunks
from a2a_hf.gradient_cache import GradientCache, counts
from a2a_hf.gradients import Gradients
from a2a_hf.groups import Assigned, assign, optimizer_class, optimizer_groups
from a2a_hf.streaming import Epochs, flow_of
from a2a_hf.trainer import HfTrainer

if TYPE_CHECKING:
    from a2a_hf.record import Quarantine, Record

PRECISIONS = {"float32": "no", "bf16": "bf16", "fp16": "fp16"}
OVERFLOWS = 25
"""Steps in a row that a loss scaler may skip: more are no search for a scale, but NaN."""


class Engine(Trainer):
    """Trainer underneath; what it overrides is what is inexact there for nested batches and several losses."""

    loss_is_scaled_for_ga = True  # each term is divided by its count over the window before backward

    def __init__(
        self,
        config: HfTrainer,
        job: Job,
        args: TrainingArguments,
        splits: Mapping[str, Prepared | Streamed],
        record: Record,
        quarantine: Quarantine,
        callbacks: list[TrainerCallback],
    ) -> None:
        self.config, self.job, self.splits, self.record, self.quarantine = config, job, splits, record, quarantine
        self.groups: list[Assigned] = assign(job.model, config.groups)
        self.weights_by_term = job.model.weights()
        self.terms = sorted(self.weights_by_term)
        self.asked = False
        """This rank was told to stop, by the user."""
        self.preempted = False
        """It was told to leave its machine."""
        self.interrupted: Literal["", "interrupted", "preempted"] = ""
        """All ranks agreed to stop after this step, and why."""
        self.learned = False
        """Some row was trained on."""
        self.window: list[Batch] = []
        self.loaders: dict[str, Loader] = {}
        self.groups_of: dict[str, list[list[int]]] = {}
        """Splits whose rows share places in batches (see Job.group)."""
        self.flow: Flow | None = None
        """The training rows, where they come as a stream."""
        self.keys: Sequence[int] | None = None
        """Of the training rows: those of one key come in different steps."""
        self.chunked = config.chunked(job.recipe, args.world_size)
        self.evaluated: dict[str, tuple[int, dict[str, Any]]] = {}
        self.judged: tuple[int, float] = (-1, 0.0)
        """The metric that tells the best, at the step of the latest evaluation."""
        self.asked_rates: list[float] = []
        """The recipe's learning rate for each group of the optimizer."""
        super().__init__(
            model=job.model,
            args=args,
            train_dataset=job.data["train"],
            eval_dataset=dict(splits) or None,
            data_collator=job.collate,
            callbacks=callbacks,
        )
        self.model_accepts_loss_kwargs = False
        self.holding = job.recipe.backend.holding(job.model, self.accelerator)
        self.gradients = Gradients(config, job.model, self.groups, self.holding)
        self.cache = GradientCache(job.model, self.accelerator, config.compile)
        self.checkpoints = Checkpoints(self)
        self.epochs = Epochs(self)
        self.callback_handler.callbacks.insert(0, self.epochs)  # the others read what epoch it is

    # data -------------------------------------------------------------------------------------------------------------

    def batches(self, split: str, batch_size: int, shuffle: bool) -> Loader | Once:
        """This rank's batches of a split; kept, with its workers, for the next epoch."""
        data, args = self.job.data[split], self.args
        if isinstance(data, Streamed):
            rank, pin = (args.process_index, args.world_size), args.device.type == "cuda"
            return Once(data, self.job.collate, batch_size, *rank, args.dataloader_num_workers, pin)
        if split not in self.loaders:
            groups = self.groups_of.get(split)
            length = len(data) if groups is None else len(groups)
            keys = self.keys if split == "train" else None
            order = Batches(length, batch_size, shuffle, args.seed, args.process_index, args.world_size, groups, keys)
            pin = args.device.type == "cuda"
            collate = self.collate() if split == "train" else self.job.collate
            self.loaders[split] = load(data, collate, order, args.dataloader_num_workers, pin)
        return self.loaders[split]

    def collate(self) -> Collate:
        """What puts training rows into batches."""
        config = self.config
        return Chunks(self.job.collate, config.micro_batch, config.micro_tokens) if self.chunked else self.job.collate

    def get_train_dataloader(self) -> Loader | Once | Flow:
        """Our own loader: accelerate's would repeat rows in an uneven tail, and draw from the global generator."""
        data = self.job.data["train"]
        if isinstance(data, Streamed):
            self.flow = self.flow or flow_of(self, data, self.collate())
            return self.flow
        return self.batches("train", self.args.per_device_train_batch_size, shuffle=True)

    def num_examples(self, dataloader: Loader) -> int:
        """Rows of an epoch, or groups of them, over all ranks."""
        return len(self.groups_of.get("train", self.train_dataset))

    def floating_point_ops(self, inputs: Batch) -> int:
        """Not estimated: the stock formula wants one tensor of token ids."""
        return 0

    # loss -------------------------------------------------------------------------------------------------------------

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Any]:
        """The batches of one optimizer step, and each term's scale: its count is added up over window and ranks first."""
        flow = self.flow
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)] if flow is None else flow.take()
        bad: list[BadRow] = [row for batch in batches for row in batch.pop("bad")]
        self.window = [chunk for batch in batches for chunk in batch.get("chunks", (batch,))]
        heartbeat.beat(self.state.global_step + 1, [name for batch in self.window for name in batch["ids"]])
        counted = counts(self.job.model, self.window)
        rows: float = sum(len(batch["ids"]) for batch in self.window)
        sums = [counted[name] for name in self.terms]
        flags = (True, True) if flow is None else flow.flags()
        *each, rows, several, asked, preempted, failed, here, more = self.over_ranks(
            [*sums, rows, len(bad), self.asked, self.preempted, self.checkpoints.failed(), *flags]
        )
        self.interrupted = "interrupted" if asked else "preempted" if preempted else ""
        if failed:
            self.checkpoints.wait()
        self.learned = self.learned or rows > 0
        if flow is not None:
            flow.judge(here, more, rows + several)
            self.quarantine.seen("train", flow.most, flow.epoch > 0)
        if several:
            self.quarantine.add("train", bad)
        if rows and not any(each):  # without rows all of them are bad, as many as the limit allows: the step moves nothing new
            raise A2AError(
                f"nothing is supervised in the rows of step {self.state.global_step + 1}: {ids(self.window)}",
                hint="no loss counts a target there; give the rows labels, or leave them out",
            )
        world = self.args.world_size
        scales = {name: world / count if count else 0.0 for name, count in zip(self.terms, each, strict=True)}
        return batches, scales

    def over_ranks(self, values: list[float]) -> list[float]:
        """Sums over all ranks."""
        if self.args.world_size == 1:
            return values
        summed = torch.tensor(values, dtype=torch.float64, device=self.args.device)
        dist.all_reduce(summed)
        found: list[float] = summed.tolist()
        return found

    def training_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """Stock, or all chunks of a step by the gradient cache."""
        if not self.chunked:
            found: Tensor = super().training_step(model, inputs, num_items_in_batch)
            return found
        model.train()
        shares = self.cache.step(model, self.even(inputs["chunks"]), num_items_in_batch)
        for name, share in shares.items():
            self.record.term(name, share)
        for chunk in inputs["chunks"]:
            self.record.rows(len(chunk["ids"]), chunk["tokens"])
        return torch.stack([self.weights_by_term[name] * share for name, share in shares.items()]).sum()

    def even(self, chunks: list[Batch]) -> list[Batch]:
        """As many chunks on every rank, where each forward pass takes all ranks; those that are added count nothing."""
        if not self.holding.gathers:
            return chunks
        most = torch.tensor(len(chunks), device=self.args.device)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return [self.job.collate([]) for _ in range(int(most) - len(chunks))] + chunks

    def _prepare_input(self, data: Any) -> Any:
        """Tensors to the device, plain structures as they are."""
        return moved(data, self.args.device)

    def compute_loss(
        self, model: nn.Module, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Weight x total / count of every term; the mean over ranks that data parallelism takes is undone by `world`."""
        output = model(inputs["inputs"], inputs["targets"], tuple(self.job.model.losses))
        loss = output.anchor
        for name, total in output.totals.items():
            share = total.float() * num_items_in_batch[name]
            self.record.term(name, share.detach())
            loss = loss + self.weights_by_term[name] * share
        self.record.rows(len(inputs["ids"]), inputs["tokens"])
        return (loss, output.outputs) if return_outputs else loss

    # the run -----------------------------------------------------------------------------------------------------------

    def _run_epoch(self, **given: Any) -> None:
        """Stock, from where the run stands."""
        super()._run_epoch(**self.epochs.begin(given))

    def _init_training_state(self, max_steps: int, *others: Any) -> tuple[int, int]:
        """Stock, but that the recipe says how often, which may be other than in the checkpoint."""
        found: tuple[int, int] = super()._init_training_state(max_steps, *others)
        self.state.compute_steps(self.args, max_steps)
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, EarlyStoppingCallback):
                callback.early_stopping_patience = self.config.patience
                callback.early_stopping_threshold = self.config.patience_threshold
        return found

    # optimisation -----------------------------------------------------------------------------------------------------

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        """Stock, around a model that the backend may have sharded; a checkpoint is read by our own names."""
        if self.holding.wrap():
            self.is_distributed_loading_by_transformers = True  # accelerate wraps nothing then
            self.groups = assign(self.job.model, self.config.groups)
            self.gradients = Gradients(self.config, self.job.model, self.groups, self.holding)
        _, train_dataloader = super()._prepare_for_training(max_steps, train_dataloader, None)
        self.is_distributed_loading_by_transformers = False  # from here on it would look for settings that we do not have
        self.holding.begin(self.model_wrapped, self.optimizer)
        self.model_wrapped = self.holding.wrapped
        if resume_from_checkpoint is not None:
            read_checkpoint(self, Path(resume_from_checkpoint))
        return self.model_wrapped, train_dataloader

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Our groups; transformers chooses the class."""
        if self.optimizer is None:
            groups = optimizer_groups(self.groups, self.config, self.job.model)
            self.asked_rates = [group["lr"] for group in groups]
            self.optimizer_cls_and_kwargs = made, keywords = optimizer_class(self.args, self.job.model)
            self.optimizer = made(groups, **keywords)
        return self.optimizer

    def _clip_grad_norm(self, model: nn.Module) -> None:
        """Nothing yet: `_get_grad_norm`, which Trainer calls next, does all that is done to gradients in one pass."""

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Check, freeze, measure and clip the gradients of this step."""
        self.accelerator.unscale_gradients()
        gradients = self.gradients
        norm = gradients.step(self.state.global_step, self.state.max_steps)
        if math.isfinite(norm):
            gradients.overflows = 0
            return norm
        gradients.overflows += 1
        self._tr_loss.zero_()  # Trainer's own sum would stay what it is now for ever
        self.record.discard()
        if self.accelerator.scaler is None or gradients.overflows > OVERFLOWS:
            gradients.not_finite(self.window, self.state.global_step + 1, self.job, self.lr_scheduler, self.optimizer)
        return norm

    def verify_precision(self) -> None:
        """What the recipe asks for is what runs."""
        asked, runs = PRECISIONS[self.config.precision], self.accelerator.mixed_precision
        if runs != asked:
            raise RunFailed(f"the run's precision is {runs!r}, `trainer.precision` asks for {asked!r}")
        if asked == "fp16" and self.accelerator.scaler is None:
            raise RunFailed(
                "`trainer.precision` = fp16 needs a loss scaler, and there is none on this device",
                hint='set `trainer.precision = "bf16"`',
            )

    # evaluation -------------------------------------------------------------------------------------------------------

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> dict[str, Any]:
        """Every split but train and test. Keys are `eval_<split>/<metric>`, the first split's also `eval_<metric>`."""
        found: dict[str, Any] = {}
        for split in self.splits:
            values = self.evaluate_split(split)
            found |= {f"eval_{split}/{name}": value for name, value in values.items()}
            found = {f"eval_{name}": value for name, value in values.items()} | found
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def evaluate_split(self, split: str, step: int | None = None) -> dict[str, Any]:
        """One split's loss and metrics with the weights of a step (none: the one at hand), recorded."""
        step = self.state.global_step if step is None else step
        bad: list[BadRow] = []
        batches = Counted(self.batches(split, self.args.per_device_eval_batch_size, shuffle=False))
        values = evaluate(
            self.job.model,
            batches,
            build_metrics(self.job.recipe.metrics, self.job.model.parts.heads),
            bad.extend,
            device=self.args.device,
        )
        if isinstance(self.job.data[split], Streamed):
            self.quarantine.seen(split, int(self.over_ranks([batches.rows + len(bad)])[0]), True)
        self.quarantine.add(split, bad)
        self.record.evaluated(step, split, values)
        self.evaluated[split] = (step, values)
        return values

    def result(self, split: str) -> dict[str, Any]:
        """A split's metrics with the weights that are exported; those of the latest evaluation may be known."""
        best = self.state.best_model_checkpoint if self.args.load_best_model_at_end else None
        exported = self.state.global_step if best is None else int(best.rpartition("-")[2])
        step, values = self.evaluated.get(split, (-1, {}))
        return values if step == exported else self.evaluate_split(split, exported)

    def _determine_best_metric(self, metrics: dict[str, Any], trial: Any) -> bool:
        """Stock, with a message for a result that no metric has after all, and for one that is a table."""
        wanted = self.args.metric_for_best_model
        if wanted is not None and not isinstance(metrics.get(f"eval_{wanted}"), int | float):
            known = sorted(name.removeprefix("eval_") for name, value in metrics.items() if isinstance(value, int | float))
            raise A2AError(f"`trainer.best` = `{wanted}` is no number of this run", hint=f"there is {', '.join(known)}")
        if wanted is not None:
            self.judged = (self.state.global_step, float(metrics[f"eval_{wanted}"]))
        better: bool = super()._determine_best_metric(metrics, trial)
        return better

    # records ----------------------------------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's record, completed with terms, speed and gradient norms; its summary at the end is left to `fit`."""
        if "loss" not in logs:
            return
        logs |= self.record.take(self.args, self.weights_by_term) | self.gradients.norms()
        logs |= self.job.model.by_head({name: logs[f"loss/{name}"] for name in self.terms})
        super().log(logs, start_time)
        self.record.logged(self.state.global_step, logs)

    # checkpoints --------------------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Whole or not at all."""
        self.checkpoints.write()

    def load_weights(self, checkpoint: Path) -> None:
        """Those of a checkpoint."""
        self.holding.load_weights(read_weights(checkpoint))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Nothing: `fit` has read the weights before features were computed from them."""

    def _load_best_model(self) -> None:
        """From our own checkpoints."""
        assert self.state.best_model_checkpoint is not None
        self.checkpoints.wait()
        best = Path(self.state.best_model_checkpoint)
        reason = manifest.verify(best)
        if reason is not None:
            hint = "`trainer.load_best = false` exports the last weights: a2a train --resume with it, and --force"
            raise RunFailed(f"{best.name}, the best one, cannot be exported: {reason}", hint=hint)
        self.load_weights(best)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Stock; ranks that the checkpoint knows nothing of do not draw again what the run began with."""
        if checkpoint is None:
            return
        ranks = manifest.read(Path(checkpoint))["ranks"]
        if ranks == self.args.world_size:
            super()._load_rng_state(checkpoint)
        else:
            seed_everything(self.args.seed + self.state.global_step)

    def position(self) -> dict[str, Any]:
        """Where this rank stands in the data, beyond what step and epoch say: nothing, for rows that are numbered."""
        return {} if self.flow is None else self.flow.position()

    def go_on_from(self, positions: list[dict[str, Any]]) -> None:
        """What every rank's `position` was."""
        if self.flow is not None:
            self.flow.go_on_from(positions)


def ids(batches: list[Batch]) -> str:
    """The rows of a window, for messages."""
    found = [name for batch in batches for name in batch["ids"]]
    return ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
