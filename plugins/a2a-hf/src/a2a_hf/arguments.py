"""The recipe's keys as transformers' TrainingArguments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

from a2a_core import A2AError
from a2a_core.errors import suggest
from a2a_core.job import Job
from a2a_core.recipe import Recipe
from a2a_hf.trainer import HfTrainer


def shares(config: HfTrainer, recipe: Recipe, ranks: int) -> tuple[int, int]:
    """Rows of a rank's batch, and how many before a step: one, where the trainer cuts it into chunks itself."""
    if config.batch_size % ranks:
        raise A2AError(f"`trainer.batch_size` = {config.batch_size} does not divide by {ranks} ranks")
    share = config.batch_size // ranks
    if config.chunked(recipe, ranks):
        return share, 1
    micro = config.micro_batch or share
    if share % micro:
        raise A2AError(
            f"`trainer.batch_size` = {config.batch_size} over {ranks} rank(s) is {share} rows each, "
            f"which does not divide by `trainer.micro_batch` = {micro}"
        )
    return micro, share // micro


def world() -> int:
    """Ranks that torchrun, or our own backend, started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def arguments(config: HfTrainer, job: Job, splits: Mapping[str, Any], best: str, higher_is_better: bool) -> TrainingArguments:
    """All of them; what the backend sets comes last."""
    rows, accumulation = shares(config, job.recipe, world())
    evaluating = config.evaluate if splits else "no"
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)  # the recipe decides
    plateau = {"mode": "max" if higher_is_better else "min"} if config.schedule == "reduce_lr_on_plateau" else {}
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(job.run.folder / "tensorboard")
    values: dict[str, Any] = optimization(config) | {
        "output_dir": str(job.run.checkpoints),
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "per_device_train_batch_size": rows,
        "per_device_eval_batch_size": config.eval_batch_size or min(config.micro_batch or rows, rows),
        "gradient_accumulation_steps": accumulation,
        "lr_scheduler_type": config.schedule,
        "lr_scheduler_kwargs": {**plateau, **config.schedule_args} or None,
        "warmup_steps": config.warmup_steps,
        "max_grad_norm": config.max_grad_norm,
        "bf16": config.precision == "bf16",
        "fp16": config.precision == "fp16",
        "tf32": config.tf32,
        "torch_compile": config.compile,
        "torch_compile_backend": config.compile_backend or None,
        "torch_compile_mode": config.compile_mode or None,
        "activation_checkpointing": config.gradient_checkpointing or None,
        "full_determinism": config.full_determinism,
        "logging_steps": config.log_every,
        "logging_nan_inf_filter": False,  # the NaN watch stops instead of smoothing over
        "report_to": list(config.report_to) or "none",
        "run_name": config.run_name or job.run.name,
        "eval_strategy": evaluating,
        "eval_steps": config.evaluate_every if evaluating == "steps" else None,
        "eval_delay": config.evaluate_delay,
        "eval_on_start": config.evaluate_first and evaluating != "no" and job.resume is None,
        "save_strategy": config.save if evaluating != "no" or config.save != "best" else "epoch",
        "save_steps": config.save_every,
        "save_total_limit": None,  # the best ones are kept, too: see a2a_hf.keeping
        "load_best_model_at_end": config.load_best and evaluating != "no",
        "metric_for_best_model": best if evaluating != "no" else None,
        "greater_is_better": higher_is_better,
        "seed": job.recipe.seed,
        "dataloader_num_workers": config.workers,
        "remove_unused_columns": False,  # it would strip nested inputs, and train on nothing
        "restore_callback_states_from_checkpoint": True,
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,
        "log_level": "error",
        "log_level_replica": "error",
        "include_num_input_tokens_seen": "no",
        **job.recipe.backend.arguments(),
    }
    try:
        made = TrainingArguments(**values)
    except (ValueError, ImportError) as error:
        raise A2AError(f"[trainer] {error}") from error
    refuse_trackers(config.report_to)
    made._n_gpu = min(made.n_gpu, 1)  # one process is one device: never DataParallel
    return made


def optimization(config: HfTrainer) -> dict[str, Any]:
    """Which optimizer, and how it is set."""
    return {
        "optim": config.optimizer,
        "optim_args": config.optimizer_args or None,
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "adam_beta1": config.adam_beta1,
        "adam_beta2": config.adam_beta2,
        "adam_epsilon": config.adam_epsilon,
    }


def bare_arguments(config: HfTrainer) -> TrainingArguments:
    """Enough of them to make the optimizer, without a run, its folder or its device."""
    return TrainingArguments(**optimization(config), report_to="none", use_cpu=True)


def refuse_trackers(names: Sequence[str]) -> None:
    """A tracker that transformers does not know, or that is not installed."""
    known, installed = sorted(INTEGRATION_TO_CALLBACK), get_available_reporting_integrations()
    for name in names:
        if name not in known:
            raise A2AError(f"`trainer.report_to` names `{name}`, which is no tracker", hint=suggest(name, known))
        if name not in installed:
            raise A2AError(f"tracker `{name}` of `trainer.report_to` is not installed", hint=f"pip install {name}")
