"""DeepSpeed's settings: the recipe's, and beside them what a user's own JSON says.

A key of the JSON is passed on, or has to say what the recipe says (or "auto"), or is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from a2a_core import A2AError, Problem
from a2a_core.errors import suggest

if TYPE_CHECKING:
    from a2a_core.recipe import Recipe
    from a2a_deepspeed.zero import DeepSpeedBackend

BUCKET = 500_000_000
"""Gradients that DeepSpeed exchanges at once, unless told otherwise: it keeps a buffer for so many, however few there are."""

PASSED = frozenset(
    {
        "aio",
        "comms_logger",
        "comet",
        "communication_data_type",
        "csv_monitor",
        "disable_allgather",
        "disable_python_gc",
        "dump_state",
        "flops_profiler",
        "gradient_predivide_factor",
        "memory_breakdown",
        "prescale_gradients",
        "steps_per_print",
        "tensorboard",
        "timers",
        "wall_clock_breakdown",
        "wandb",
        "zero_optimization.allgather_bucket_size",
        "zero_optimization.allgather_partitions",
        "zero_optimization.contiguous_gradients",
        "zero_optimization.enable_sanity_checks",
        "zero_optimization.ignore_unused_parameters",
        "zero_optimization.leaf_module",
        "zero_optimization.log_trace_cache_warnings",
        "zero_optimization.memory_efficient_linear",
        "zero_optimization.offload_optimizer.pin_memory",
        "zero_optimization.offload_param.buffer_count",
        "zero_optimization.offload_param.buffer_size",
        "zero_optimization.offload_param.max_in_cpu",
        "zero_optimization.offload_param.pin_memory",
        "zero_optimization.overlap_comm",
        "zero_optimization.override_module_apply",
        "zero_optimization.parameter_alignment",
        "zero_optimization.reduce_bucket_size",
        "zero_optimization.reduce_scatter",
        "zero_optimization.stage3_allgather_sequential",
        "zero_optimization.stage3_gather_16bit_weights_on_model_save",
        "zero_optimization.stage3_max_live_parameters",
        "zero_optimization.stage3_max_reuse_distance",
        "zero_optimization.stage3_model_persistence_threshold",
        "zero_optimization.stage3_module_granularity_threshold",
        "zero_optimization.stage3_param_persistence_threshold",
        "zero_optimization.stage3_prefetch_bucket_size",
        "zero_optimization.stage3_use_all_reduce_for_fetch_params",
        "zero_optimization.sub_group_size",
        "zero_optimization.use_multi_rank_bucket_allreduce",
        "zero_optimization.zero_hpz_partition_size",
        "zero_optimization.zero_quantized_gradients",
        "zero_optimization.zero_quantized_nontrainable_weights",
        "zero_optimization.zero_quantized_weights",
    }
)
"""How fast, in how much memory and with what records: nothing of what a recipe says."""

WEIGHTS = "weights stay in float32 here, and `trainer.precision` is what is computed in"
OFFLOADS = "DeepSpeed's own optimizer, or a part of one, would replace the recipe's"
CLOSED = "a2a does not use it"
REFUSED = {
    "activation_checkpointing": "`trainer.gradient_checkpointing` says so",
    "amp": WEIGHTS,
    "autotuning": CLOSED,
    "checkpoint": "checkpoints are a2a's own",
    "compile": "`trainer.compile` says so",
    "compression_training": "it would train another model",
    "curriculum_learning": "it would change the order of rows",
    "data_efficiency": "it would change the order of rows",
    "data_types": WEIGHTS,
    "elasticity": "`trainer.batch_size` is the same on any number of ranks",
    "expert_parallel": CLOSED,
    "gradient_allreduce_op": "terms are divided by their counts before, and gradients averaged",
    "hybrid_engine": CLOSED,
    "managed_gradient_accumulation": CLOSED,
    "optimizer": "`trainer.optimizer` and its keys say so",
    "pipeline": CLOSED,
    "progressive_layer_drop": "it would train another model",
    "quantize_training": "it would train another model",
    "scheduler": "`trainer.schedule` and its keys say so",
    "sequence_parallel_size": CLOSED,
    "sparse_attention": "it would train another model",
    "sparse_gradients": CLOSED,
    "tensor_parallel": CLOSED,
    "weight_quantization": "it would train another model",
    "zero_optimization.compute_grad_norm": "the norm tells whether to leave out a step",
    "zero_optimization.cpu_offload": "`backend.offload_optimizer` says so",
    "zero_optimization.cpu_offload_param": "`backend.offload_parameters` says so",
    "zero_optimization.cpu_offload_use_pin_memory": "write `pin_memory` into `offload_optimizer` or `offload_param`",
    "zero_optimization.elastic_checkpoint": "checkpoints are a2a's own",
    "zero_optimization.legacy_stage1": "DeepSpeed has it no longer",
    "zero_optimization.load_from_fp32_weights": "checkpoints are a2a's own",
    "zero_optimization.offload_optimizer.buffer_count": "nothing is moved to disks",
    "zero_optimization.offload_optimizer.cpuadam_cores_perc": OFFLOADS,
    "zero_optimization.offload_optimizer.fast_init": "nothing is moved to disks",
    "zero_optimization.offload_optimizer.nvme_path": "nothing is moved to disks",
    "zero_optimization.offload_optimizer.pipeline_read": "nothing is moved to disks",
    "zero_optimization.offload_optimizer.pipeline_write": "nothing is moved to disks",
    "zero_optimization.offload_optimizer.ratio": OFFLOADS,
    "zero_optimization.offload_optimizer.super_offload": OFFLOADS,
    "zero_optimization.offload_param.nvme_path": "nothing is moved to disks",
    "zero_optimization.pipeline_loading_checkpoint": "checkpoints are a2a's own",
    "zero_optimization.round_robin_gradients": "DeepSpeed no longer tells then whose gradient is where",
    "zero_optimization.save_muon_momentum_buffer_in_memory": OFFLOADS,
    "zero_optimization.stage3_gather_fp16_weights_on_model_save": "write `stage3_gather_16bit_weights_on_model_save`",
    "zero_optimization.zenflow": OFFLOADS,
}


SECTIONS = frozenset(
    {
        "bf16",
        "fp16",
        "torch_autocast",
        "zero_optimization",
        "zero_optimization.offload_optimizer",
        "zero_optimization.offload_param",
    }
)
"""Tables of the JSON that are looked into; others are passed on as they are, or refused."""
AUTOCAST = ("bf16", "fp16", "torch_autocast")


def settings(backend: DeepSpeedBackend, trainable: int) -> dict[str, Any]:
    """What DeepSpeed is started with. Batch sizes are for its records alone: when to exchange and to update, it is told."""
    made: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0,  # its default is 1; where a step is to be clipped, `clip` says so
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {"stage": backend.stage, "reduce_bucket_size": max(1, min(BUCKET, trainable))},
    }
    if backend.offload_optimizer:
        made["zero_optimization"]["offload_optimizer"] = {"device": "cpu"}
    if backend.offload_parameters:
        made["zero_optimization"]["offload_param"] = {"device": "cpu"}
    for key, value in given(backend):
        if key in PASSED and value != "auto":
            *tables, last = key.split(".")
            table = made
            for each in tables:
                table = table.setdefault(each, {})
            table[last] = value
    return made


def problems(backend: DeepSpeedBackend, recipe: Recipe) -> Iterator[Problem]:
    """What of the JSON is unknown, refused, or at odds with the recipe."""
    file = backend.config
    try:
        found = list(given(backend))
    except A2AError as error:
        yield from error.problems
        return
    asked = said(backend, recipe)
    for key, value in found:
        if key in REFUSED:
            yield Problem(f"`{key}` in {file} is not for DeepSpeed to say: {REFUSED[key]}", hint="leave it out of the JSON")
        elif key in asked:
            wanted, place = asked[key]
            if value not in ("auto", wanted):
                told = f"`{key}` is {json.dumps(value)} in {file}, and {place} makes it {json.dumps(wanted)}"
                yield Problem(told, hint="leave it out of the JSON, or change the recipe")
        elif key in SECTIONS:
            yield Problem(f"`{key}` in {file} is no table", hint=f'write "{key}": {{…}}, or leave it out')
        elif key not in PASSED and key.partition(".")[0] not in AUTOCAST:
            hint = suggest(key, PASSED | REFUSED.keys() | SECTIONS | asked.keys())
            yield Problem(f"DeepSpeed knows no key `{key}`, which stands in {file}", hint=hint)


def said(backend: DeepSpeedBackend, recipe: Recipe) -> dict[str, tuple[Any, str]]:
    """What the recipe says already, by the key that would say it in the JSON, and where."""
    trainer: Any = recipe.trainer
    found: dict[str, tuple[Any, str]] = {
        "zero_optimization.stage": (backend.stage, "`backend.stage`"),
        "zero_optimization.offload_optimizer.device": (
            "cpu" if backend.offload_optimizer else "none",
            "`backend.offload_optimizer`",
        ),
        "zero_optimization.offload_param.device": (
            "cpu" if backend.offload_parameters else "none",
            "`backend.offload_parameters`",
        ),
        "zero_allow_untested_optimizer": (True, "`trainer.optimizer`"),
        "zero_force_ds_cpu_optimizer": (False, "`trainer.optimizer`"),
    }
    for key in AUTOCAST:
        found[f"{key}.enabled"] = (False, f"`trainer.precision` ({WEIGHTS})")
    rows, ranks = getattr(trainer, "batch_size", None), backend.processes * backend.nodes or started()
    if rows is not None:
        found["train_batch_size"] = (rows, "`trainer.batch_size`")
        found["gradient_clipping"] = (trainer.max_grad_norm, "`trainer.max_grad_norm`")
    if rows is not None and ranks:
        micro = trainer.micro_batch or rows // ranks
        place = f"`trainer.batch_size` = {rows} with `trainer.micro_batch` = {trainer.micro_batch} on {ranks} rank(s)"
        found["train_micro_batch_size_per_gpu"] = (micro, place)
        found["gradient_accumulation_steps"] = (rows // ranks // max(1, micro), place)
    return found


def started() -> int:
    """Ranks that somebody started already; 0 where nobody did."""
    return int(os.environ.get("WORLD_SIZE", "0"))


def given(backend: DeepSpeedBackend) -> Iterator[tuple[str, Any]]:
    """The keys of the user's JSON with their values, `zero_optimization.stage`; A2AError for what is no JSON."""
    if backend.config is None:
        return
    try:
        found = json.loads(backend.config.read_text(encoding="utf-8"), object_pairs_hook=once)
    except (OSError, ValueError) as error:
        raise A2AError(f"{backend.config}: {error}") from error
    if not isinstance(found, dict):
        raise A2AError(f"{backend.config} is no table of settings", hint='DeepSpeed wants {"zero_optimization": {…}, …}')
    yield from flat(found)


def flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with the tables that they stand in before them."""
    for key, value in table.items():
        name = f"{before}{key}"
        if name in SECTIONS and isinstance(value, dict):
            yield from flat(value, f"{name}.")
        elif name not in SECTIONS or value is not None:
            yield name, value


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """No key twice in a table: DeepSpeed would not take it."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"`{twice}` stands there twice")
    return found
