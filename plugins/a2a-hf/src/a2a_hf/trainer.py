"""The trainer `hf`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from a2a_core import A2AError, Options, Problem, TrainerConfig, option
from a2a_core.structures import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn
    from torch.optim import Optimizer

    from a2a_core.components import Fit
    from a2a_core.job import Job
    from a2a_core.recipe import Recipe

OptimizerName = Literal[
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_torch_4bit",
    "adamw_torch_8bit",
    "adamw_8bit",
    "paged_adamw_32bit",
    "paged_adamw_8bit",
    "adafactor",
    "ademamix",
    "lion_32bit",
    "lion_8bit",
    "rmsprop",
    "sgd",
    "adagrad",
    "grokadamw",
    "stable_adamw",
]
Schedule = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "reduce_lr_on_plateau",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
    "greedy",
]


MAY_CHANGE = frozenset(
    """
    epochs max_steps micro_batch micro_tokens eval_batch_size workers learning_rate weight_decay adam_beta1 adam_beta2
    adam_epsilon schedule_args warmup_steps max_grad_norm tf32 gradient_checkpointing compile compile_backend compile_mode
    full_determinism log_every report_to run_name evaluate evaluate_every evaluate_delay evaluate_first save save_every
    save_async keep_last keep_best load_best patience patience_threshold on_nan max_back_offs tail
    """.split()  # noqa: SIM905
)
"""Options with which a run can go on from a checkpoint that was written with others."""
STATE = "the checkpoint has the state of the old one"
MUST_STAY = {
    "batch_size": "where a run stands in its rows is counted in steps of so many",
    "optimizer": STATE,
    "optimizer_args": STATE,
    "groups": STATE,
    "schedule": STATE,
    "precision": "what it was scaled by, and rounded to, is in the checkpoint",
    "best": "the best so far was told by the old one",
    "higher_is_better": "the best so far was told by the old one",
}
"""Why a run cannot go on with others of these."""


class Group(Options):
    """Parameters that are trained alike: `[[trainer.groups]]`. Each trainable parameter matches exactly one group."""

    match: str = option("pattern of parameter names, `encoders.image.*`; several are separated by `|`")
    learning_rate: float | None = option("peak learning rate (empty: the trainer's)", default=None, gt=0)
    weight_decay: float | None = option("decoupled weight decay (empty: the trainer's)", default=None, ge=0)
    freeze_until: float = option("optimizer steps before it is trained; below 1, a share of all steps", default=0.0, ge=0)


class HfTrainer(TrainerConfig):
    """transformers.Trainer underneath, made exact.

    Every term of every loss is divided once, by its count over the accumulated window and all ranks, so that accumulation,
    uneven batches and data parallelism give the gradient of one big batch. `batch_size` is the rows of an optimizer step
    over all ranks: a recipe means the same on one process and on sixteen. A run killed at any moment resumes from its last
    checkpoint to the same weights, and reads none of the rows it has done.

    Losses that compare all rows of a step with one another do so whatever `micro_batch` is: where it is smaller than a rank's
    share, the gradient cache (arXiv 2101.06983) computes each chunk of so many rows twice, first for the losses and then, with
    the same dropout, for the gradient. Chunks hold rows of like lengths, and with `micro_tokens` no more than so many tokens.
    """

    name = "hf"
    may_change = MAY_CHANGE
    must_stay = MUST_STAY
    epochs: float = option("passes over the training rows", default=3.0, gt=0)
    max_steps: int = option("optimizer steps, whatever `epochs` says (0: by epochs)", default=0, ge=0)
    batch_size: int = option("rows an optimizer step takes, over all ranks", default=8, ge=1)
    micro_batch: int = option("rows a rank takes at once; the rest is accumulated (0: all of its share)", default=0, ge=0)
    micro_tokens: int = option(
        "tokens, padded, that `micro_batch` rows may come to; longer rows go fewer at once (0: any number)", default=0, ge=0
    )
    eval_batch_size: int = option("rows a rank evaluates at once (0: as in training)", default=0, ge=0)
    workers: int = option("processes a rank that prepare rows (0: the rank itself)", default=0, ge=0)

    tail: Literal["pad", "drop"] = option(
        "where rows come as a stream, and one rank has its last ones before another: batches that count nothing until all "
        "are through, or the epoch ends there",
        default="pad",
    )

    optimizer: OptimizerName = option("the optimizer, by transformers' name", default="adamw_torch")
    optimizer_args: str = option("its own arguments, `name=value,name=value`", default="")
    learning_rate: float = option("peak learning rate", default=5e-5, gt=0)
    weight_decay: float = option(
        "decoupled weight decay of weight matrices; norms, biases, embeddings have none", default=0.0, ge=0
    )
    adam_beta1: float = option("decay of the first moment", default=0.9, ge=0, lt=1)
    adam_beta2: float = option("decay of the second moment", default=0.999, ge=0, lt=1)
    adam_epsilon: float = option("added to the denominator", default=1e-8, gt=0)
    groups: tuple[Group, ...] = option("parameters with settings of their own; empty: all alike", default=())
    schedule: Schedule = option("how the learning rate goes", default="linear")
    schedule_args: dict[str, Any] = option("the schedule's own arguments", default={})
    warmup_steps: float = option("optimizer steps of linear warm-up; below 1, a share of all steps", default=0.0, ge=0)
    max_grad_norm: float = option("clip the gradient's norm to this (0: never)", default=1.0, ge=0)

    precision: Literal["float32", "bf16", "fp16"] = option("arithmetic of forward and backward (autocast)", default="float32")
    tf32: bool | None = option("TensorFloat-32 in float32 matrix products, on GPUs that have it", default=None)
    gradient_checkpointing: bool = option("compute activations again in backward, in parts that can", default=False)
    compile: bool = option("torch.compile the model", default=False)
    compile_backend: str = option("its backend (empty: torch's default)", default="")
    compile_mode: str = option("its mode (empty: torch's default)", default="")
    full_determinism: bool = option("deterministic algorithms only; slower", default=False)

    log_every: float = option("optimizer steps between records; below 1, a share of all steps", default=10.0, gt=0)
    report_to: tuple[str, ...] = option("trackers that transformers knows", default=("tensorboard",))
    run_name: str = option("the run's name for trackers (empty: its folder's)", default="")

    evaluate: Literal["epoch", "steps", "no"] = option("when to evaluate the splits but `train` and `test`", default="epoch")
    evaluate_every: float = option("with `steps`: optimizer steps; below 1, a share of all steps", default=500.0, gt=0)
    evaluate_delay: float = option("epochs (or steps) before the first evaluation", default=0.0, ge=0)
    evaluate_first: bool = option("evaluate before the first step, too", default=False)
    save: Literal["epoch", "steps", "best", "no"] = option("when to write a checkpoint", default="epoch")
    save_every: float = option("with `steps`: optimizer steps; below 1, a share of all steps", default=500.0, gt=0)
    save_async: bool = option("go on training while a checkpoint is written, from a copy in memory", default=True)
    keep_last: int = option("latest checkpoints that are kept (0: all)", default=2, ge=0)
    keep_best: int = option("checkpoints kept beside them, those with the best `best`", default=1, ge=1)

    best: str = option("metric that tells the best checkpoint, `accuracy` or `<split>/accuracy` (empty: the loss)", default="")
    higher_is_better: bool | None = option("of `best` (empty: as the metric says)", default=None)
    load_best: bool = option("export the best checkpoint's weights, not the last's", default=False)
    patience: int = option("evaluations without a better `best` before stopping early (0: never)", default=0, ge=0)
    patience_threshold: float = option("how much better counts as better", default=0.0, ge=0)

    on_nan: Literal["stop", "back-off"] = option(
        "gradient not finite: dump the batch, then stop, or skip the step and halve the learning rate", default="stop"
    )
    max_back_offs: int = option("with `back-off`: how often before stopping after all", default=5, ge=1)

    def check(self) -> None:
        """Rules over several keys."""
        if self.micro_tokens and not self.micro_batch:
            raise ValueError("`micro_tokens` bounds what `micro_batch` rows may come to: set that, too")
        if self.load_best and self.evaluate == "no":
            raise ValueError('`load_best` needs evaluations: set `evaluate = "epoch"` or `"steps"`')
        if self.evaluate_first and self.evaluate == "no":
            raise ValueError('`evaluate_first` needs evaluations: set `evaluate = "epoch"` or `"steps"`')
        if self.patience and self.evaluate == "no":
            raise ValueError('`patience` needs evaluations: set `evaluate = "epoch"` or `"steps"`')
        if self.save == "best" and self.evaluate == "no":
            raise ValueError('`save = "best"` needs evaluations: set `evaluate = "epoch"` or `"steps"`')
        if self.load_best and self.save == "no":
            raise ValueError("`load_best` needs checkpoints: set `save`")
        if self.load_best and self.save in ("epoch", "steps"):
            every = (self.evaluate_every, self.save_every) if self.save == "steps" else (0, 0)
            if self.save != self.evaluate or every[0] != every[1]:
                raise ValueError("`load_best` needs a checkpoint at each evaluation: make `save` and `evaluate` agree")

    def build(self, job: Job) -> Fit:
        """See TrainerConfig.build."""
        from a2a_hf.fit import HfFit

        return HfFit(self, job)

    def misfits(self, recipe: Recipe) -> Iterator[tuple[str, Problem]]:
        """See TrainerConfig.misfits."""
        from a2a_hf.best import misnamed

        yield from self.misfits_of_streams(recipe)
        problem = misnamed(recipe, self.best) if self.best else None
        if problem is not None:
            yield "best", problem
        if self.micro_batch > self.batch_size:
            told = f"`trainer.micro_batch`: {self.micro_batch} rows at once are more than the {self.batch_size} of a step"
            yield "micro_batch", Problem(told, hint="lower it, or raise `trainer.batch_size`")
        for key, loss in recipe.losses.items():
            if loss.least() > self.batch_size:
                told = f"`trainer.batch_size` = {self.batch_size}: loss `{key}` compares the rows of a step with one another"
                yield "batch_size", Problem(told, hint=f"it needs {loss.least()} at least; more are better")
        if self.micro_tokens and not over_steps(recipe):
            told = "`trainer.micro_tokens` cuts the steps of losses that compare all of their rows, and there is no such loss"
            yield "micro_tokens", Problem(told, hint="leave it out; `trainer.micro_batch` is for all losses")

    def misfits_of_streams(self, recipe: Recipe) -> Iterator[tuple[str, Problem]]:
        """What rows that come as a stream need, and only they."""
        streams = "train" in recipe.data and recipe.data["train"].streams
        if streams and not self.max_steps:
            told = "the rows of `train` come as a stream, and nobody knows how many steps its epochs have"
            yield "max_steps", Problem(told, hint="set `trainer.max_steps`; `epochs` says nothing here")
        if not streams and self.tail != "pad":
            told = f'`trainer.tail = "{self.tail}"` is for rows that come as a stream: others come in steps that ranks share'
            yield "tail", Problem(told, hint="leave it out")

    def refuse(self, recipe: Recipe, model: nn.Module) -> None:
        """What this trainer cannot do is said before it starts."""
        from a2a_hf.arguments import shares
        from a2a_hf.best import evaluated as splits

        problems = [problem for _, problem in self.misfits(recipe)]
        if problems:
            raise A2AError(problems)
        shares(self, recipe, 1)
        evaluated = splits(recipe)
        if not evaluated and (self.load_best or self.patience or self.save == "best"):
            raise A2AError('`load_best`, `patience` and `save = "best"` need a split to evaluate: add [data.validation]')
        if self.schedule in ("reduce_lr_on_plateau", "greedy") and (self.evaluate == "no" or not evaluated):
            raise A2AError(f"schedule `{self.schedule}` follows an evaluation: add [data.validation], and set `evaluate`")
        able = any(hasattr(module, "gradient_checkpointing") for module in model.modules())
        if self.gradient_checkpointing and not able:
            raise A2AError("`trainer.gradient_checkpointing`: no part of this model can compute its activations again")

    def passes(self, rows: int) -> float:
        """See TrainerConfig.passes."""
        return self.max_steps * self.batch_size / rows if self.max_steps else self.epochs

    def chunked(self, recipe: Recipe, ranks: int) -> bool:
        """Whether a rank's share of a step is cut into chunks for losses that compare all of it."""
        return over_steps(recipe) and (self.micro_tokens > 0 or 0 < self.micro_batch < self.batch_size // ranks)

    def plan(self) -> Plan:
        """See TrainerConfig.plan."""
        return Plan(self.batch_size, self.micro_batch, self.precision, self.gradient_checkpointing)

    def grouped(self, model: nn.Module) -> dict[str, str]:
        """See TrainerConfig.grouped."""
        from a2a_hf.groups import assign

        return {name: each.name for each in assign(model, self.groups) for name in each.parameters}

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """See TrainerConfig.build_optimizer."""
        from a2a_hf.arguments import bare_arguments
        from a2a_hf.groups import assign, optimizer_class, optimizer_groups

        made, keywords = optimizer_class(bare_arguments(self), model)
        optimizer: Optimizer = made(optimizer_groups(assign(model, self.groups), self, model), **keywords)
        return optimizer


def over_steps(recipe: Recipe) -> bool:
    """Some loss compares all rows of a step."""
    return any(loss.scope == "window" for loss in recipe.losses.values())
