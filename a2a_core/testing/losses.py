"""Invariants of losses: a loss is (total, count), and both add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, cast

import attrs
import torch
from torch import Tensor

from a2a_core.components import HeadConfig, LossConfig
from a2a_core.testing.check import NotApplicable, attempt, expect, fail
from a2a_core.testing.compare import finite, mapped, same, seeded
from a2a_core.testing.every import references
from a2a_core.testing.modules import MODULES, listed
from a2a_core.testing.reference import ReferenceEncoder, ReferenceFusion
from a2a_core.testing.subject import ModuleSubject

SIZE = 7
SPLITS = ((1,) * SIZE, (2, 5), (6, 1), (3, 1, 3))
EXAMPLES = """
    def examples(self, size):
        head = ClassifyHead(field="label", classes=["a", "b", "c"])
        labels = torch.arange(size) % 3
        labels[-1] = -100                                    # the last sample has no target
        return head, {"logits": torch.randn(size, 3)}, {"label": labels}
"""
DIVIDED = "the total is divided somewhere: reduction='mean', .mean(), or by a sum over the batch"
SUM = "sum over samples (reduction='sum') and say in count() what to divide by; the trainer divides once, over window and ranks"


class Judged(NamedTuple):
    """What a loss says of a batch."""

    counts: dict[str, float]
    totals: dict[str, Tensor]
    outputs: dict[str, Tensor]
    """Leaves, with the totals' gradients."""


class LossSubject(ModuleSubject[LossConfig]):
    """A loss with outputs and targets of seven samples, the last without a target."""

    @cached_property
    def example(self) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """A head, outputs and targets."""
        config = self.config
        with attempt(f"`{self.cls.__name__}.examples({SIZE})`", remedy=f"give the class\n{EXAMPLES}"), seeded():
            head, outputs, targets = config.examples(SIZE)
        if not any(sliced(value) for value in outputs.values()):
            text = f"`{self.cls.__name__}.examples({SIZE})` gives no output with {SIZE} samples in dimension 0"
            fail(text, remedy=f"give the class\n{EXAMPLES}")
        return head, mapped(outputs, Tensor.detach), targets

    def prepare(self) -> None:
        """It counts, too."""
        super().prepare()
        module = self.fresh()
        with attempt("count()", "it uses its parameters, or what forward left behind"):
            module.count(self.config.example_inputs(SIZE, range(SIZE)), self.example[2])

    def make(self) -> Any:
        """Build it."""
        config = self.config
        return config.build(self.example[0])

    def arguments(self) -> tuple[Any, ...]:
        """Outputs that want gradients, and targets."""
        _, outputs, targets = self.example
        return mapped(outputs, leaf), targets

    def whole(self) -> dict[str, Any]:
        """Behind reference encoders, a reference fusion and its example's head."""
        heads, losses = {self.config.head: self.example[0]}, {"it": self.config}
        named = {name for table, name in references(self.example[0]) if table == "encoders"} or {"in"}
        encoders = {name: ReferenceEncoder() for name in sorted(named)}
        return {"encoders": encoders, "fusion": ReferenceFusion(), "heads": heads, "losses": losses}

    def judge(self, module: Any, samples: Sequence[int] | None = None) -> Judged:
        """Counts and totals of some samples, all by default, with gradients."""
        chosen = list(range(SIZE)) if samples is None else list(samples)
        _, outputs, targets = self.example
        outputs = mapped({name: value[chosen] if sliced(value) else value for name, value in outputs.items()}, leaf)
        targets = {name: value[chosen] if sliced(value) else value for name, value in targets.items()}
        with seeded():
            with attempt(f"count() of {len(chosen)} samples", "it uses its parameters, or what forward left behind"):
                counts = module.count(self.config.example_inputs(SIZE, chosen), targets)
            with attempt(f"forward of {len(chosen)} samples"):
                totals = module(outputs, targets)
        for what, found in (("count()", counts), ("forward", totals)):
            if not isinstance(found, Mapping) or set(found) != set(self.config.terms):
                shown = sorted(found) if isinstance(found, Mapping) else type(found).__name__
                fail(
                    f"{what} must give a value for each of `terms`",
                    f"{shown}; terms = {self.config.terms}",
                    "terms that come and go with the batch, or a name that was forgotten in `terms`",
                    "always give every term; one that counts nothing is 0",
                )
        return Judged({name: float(value) for name, value in counts.items()}, dict(totals), outputs)


def sliced(value: Any) -> bool:
    """Has one entry a sample; what is lent to the loss (how logits are made) has none."""
    return isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == SIZE


def leaf(tensor: Tensor) -> Tensor:
    """A copy that collects gradients, where it can."""
    copy = tensor.detach().clone()
    return copy.requires_grad_() if copy.is_floating_point() else copy


def parts(split: Sequence[int]) -> list[list[int]]:
    """The samples, cut into chunks of so many."""
    order = iter(range(SIZE))
    return [[next(order) for _ in range(size)] for size in split]


def terms_are_static(subject: LossSubject) -> None:
    """`terms` names what count() and forward give, for every batch; totals are numbers in float32, connected to the graph."""
    expect(bool(subject.config.terms), "`terms` is empty", remedy='terms = ("cross_entropy",)')
    module = subject.fresh()
    for samples in (None, [SIZE - 1], [0]):
        judged = subject.judge(module, samples)
        for name, total in judged.totals.items():
            good = isinstance(total, Tensor) and total.numel() == 1 and total.dim() == 0
            expect(good, f"the total of `{name}` must be a tensor without dimensions", str(getattr(total, "shape", total)))
            expect(
                total.requires_grad,
                f"the total of `{name}` is not connected to the graph",
                because="a constant for a batch that counts nothing",
                remedy="outputs.sum() * 0 stays connected",
            )


def totals_add_up(subject: LossSubject) -> None:
    """Totals, counts and gradients of a batch are the sums of those of its parts, however it is split.

    So accumulation, uneven batches and ranks give the gradient of one big batch.
    """
    sample_scope(subject)
    whole = subject.judge(module := subject.lively())
    gradients = differentiated(module, whole)
    for split in SPLITS:
        found = [subject.judge(module, samples) for samples in parts(split)]
        for name in subject.config.terms:
            counts = [judged.counts[name] for judged in found]
            expect(
                abs(sum(counts) - whole.counts[name]) <= 1e-6 * max(1.0, abs(whole.counts[name])),
                f"the counts of `{name}` do not add up: {whole.counts[name]:g} for {SIZE} samples, {sum(counts):g} for {split}",
                because="a constant, or a mean",
                remedy="count what was summed: targets that are not ignored, tokens, boxes",
            )
            total = torch.stack([judged.totals[name].detach() for judged in found]).sum()
            same(
                f"the totals of `{name}` do not add up when {SIZE} samples are split into {split}",
                whole.totals[name].detach(),
                total,
                DIVIDED,
                SUM,
            )
        got: dict[str, Tensor] = {}
        for judged in found:
            for name, gradient in differentiated(module, judged).items():
                if name not in got:
                    got[name] = gradient
                elif name.startswith("outputs.") and sliced(gradients[name]):
                    got[name] = torch.cat([got[name], gradient])
                else:
                    got[name] = got[name] + gradient
        for name, gradient in gradients.items():
            same(
                f"the gradients at `{name}` do not add up when {SIZE} samples are split into {split}",
                gradient,
                got[name],
                DIVIDED,
                SUM,
            )


def order_does_not_matter(subject: LossSubject) -> None:
    """The same samples in another order have the same totals and counts."""
    module = subject.lively()
    one, other = subject.judge(module), subject.judge(module, list(reversed(range(SIZE))))
    for name, total in one.totals.items():
        same(
            f"the total of `{name}` depends on the order of samples",
            total.detach(),
            other.totals[name].detach(),
            "an index by position",
            SUM,
        )
        expect(one.counts[name] == other.counts[name], f"the count of `{name}` depends on the order of samples")


def unlabelled_samples_count_nothing(subject: LossSubject) -> None:
    """The last sample has no target: without it totals and counts are the same, and it receives no gradient."""
    sample_scope(subject)
    module = subject.lively()
    whole, without = subject.judge(module), subject.judge(module, range(SIZE - 1))
    for name, total in whole.totals.items():
        what = f"the total of `{name}` changes with a sample that has no target"
        same(
            what, without.totals[name].detach(), total.detach(), "the value that stands for no target is not masked", "mask it"
        )
        expect(
            whole.counts[name] == without.counts[name],
            f"the count of `{name}` changes with an unlabelled sample: {without.counts[name]:g} -> {whole.counts[name]:g}",
            because="the count is the size of the batch",
            remedy="count the targets that forward does not ignore",
        )
    for name, gradient in differentiated(module, whole).items():
        if name.startswith("outputs.") and sliced(gradient):
            expect(
                not gradient[-1].any(),
                f"a sample without target gets a gradient at `{name}`",
                str(gradient[-1].abs().max().item()),
            )


def nothing_to_count_is_zero(subject: LossSubject) -> None:
    """A batch without any target counts 0; its total is exactly 0, connected to the graph, with finite gradients."""
    module = subject.lively()
    judged = subject.judge(module, [SIZE - 1])
    for name, count in judged.counts.items():
        total = judged.totals[name].item()
        if subject.config.scope == "window" and count:
            continue
        expect(
            count == 0, f"`{name}` counts {count:g} in a batch without any target", remedy="count what forward does not ignore"
        )
        expect(
            total == 0,
            f"the total of `{name}` is {total:g} in a batch without any target",
            because="a mean of nothing is NaN; a regulariser that does not depend on targets",
            remedy="sum over the targets that count: outputs[valid].sum() is 0 and connected",
        )
    gradients = differentiated(module, judged)
    wrong = [name for name, gradient in gradients.items() if not finite(gradient) or bool(gradient.any())]
    expect(
        not wrong,
        f"a batch without any target gives gradients other than 0 at {listed(wrong)}",
        because="a division by 0, a log of 0, NaN targets that are multiplied by 0 instead of left out",
        remedy="replace ignored targets before computing: torch.where(valid, target, 0)",
    )


def count_needs_no_parameters(subject: LossSubject) -> None:
    """`count` reads neither parameters nor the forward pass, which must not have run: counts are added up first."""
    module = subject.fresh()
    wanted = subject.judge(module).counts
    _, _, targets = subject.example
    other = subject.fresh()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.fill_(float("nan"))
    with attempt(
        "count() before any forward pass", "it uses what forward left behind", "compute it from inputs and targets alone"
    ):
        inputs = subject.config.example_inputs(SIZE, range(SIZE))
        got = {name: float(value) for name, value in other.count(inputs, targets).items()}
    expect(got == wanted, "count() depends on parameters or on a forward pass", f"{wanted}, then {got}")


def weight_is_not_applied(subject: LossSubject) -> None:
    """`weight` is the trainer's to apply: a loss with another weight gives the same totals."""
    heavy = LossSubject(attrs.evolve(cast("Any", subject.config), weight=subject.config.weight * 3 + 1))
    heavy.example = subject.example
    one, other = subject.judge(subject.lively()), heavy.judge(heavy.lively())
    for name, total in one.totals.items():
        what = f"the total of `{name}` changes with `weight`, which would then count twice"
        same(what, total.detach(), other.totals[name].detach(), "self.weight in build() or forward", "leave it to the trainer")


def low_precision_outputs_work(subject: LossSubject) -> None:
    """From bfloat16 outputs under autocast the total is finite, float32, and right to 2 %."""
    module = subject.fresh()
    _, outputs, targets = subject.example
    low = mapped(outputs, lambda tensor: leaf(tensor.bfloat16() if tensor.is_floating_point() else tensor))
    with torch.autocast("cpu", torch.bfloat16), attempt("forward of bfloat16 outputs under autocast"):
        totals = module(low, targets)
    for name, total in subject.judge(module).totals.items():
        expect(
            totals[name].dtype in (torch.float32, torch.float64),
            f"the total of `{name}` is {totals[name].dtype}: a sum over thousands of tokens loses its last digits there",
            remedy="outputs.float() first",
        )
        what = f"the total of `{name}` from bfloat16 outputs is not that from float32"
        same(
            what,
            total.detach(),
            totals[name].detach(),
            "sums or logarithms in bfloat16",
            "outputs.float() first",
            tolerance=0.02,
        )


def depends_on_outputs(subject: LossSubject) -> None:
    """Some output receives a gradient, and all gradients are finite."""
    judged = subject.judge(module := subject.lively())
    gradients = {name: g for name, g in differentiated(module, judged).items() if name.startswith("outputs.")}
    expect(
        any(bool(g.any()) for g in gradients.values()),
        "no output receives a gradient",
        because=".argmax(), .detach() or torch.no_grad()",
    )
    broken = [name for name, gradient in gradients.items() if not finite(gradient)]
    expect(
        not broken,
        f"gradients at {listed(broken)} are NaN or infinite",
        because="log(softmax(x)), sqrt at 0",
        remedy="log_softmax; clamp",
    )


def sample_scope(subject: LossSubject) -> None:
    """NotApplicable where a loss sees the whole window."""
    if subject.config.scope == "window":
        raise NotApplicable('scope "window": samples are compared with one another')


def differentiated(module: Any, judged: Judged) -> dict[str, Tensor]:
    """Gradients of the sum of totals, at outputs and parameters; 0 where there is none."""
    leaves = {f"outputs.{name}": value for name, value in judged.outputs.items() if getattr(value, "requires_grad", False)}
    leaves |= {f"parameters.{name}": value for name, value in module.named_parameters() if value.requires_grad}
    with attempt("backward"):
        total = torch.stack([total.float() for total in judged.totals.values()]).sum()
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {
        name: torch.zeros_like(value) if gradient is None else gradient
        for (name, value), gradient in zip(leaves.items(), found, strict=True)
    }


CHECKS = (
    terms_are_static,
    totals_add_up,
    order_does_not_matter,
    unlabelled_samples_count_nothing,
    nothing_to_count_is_zero,
    count_needs_no_parameters,
    weight_is_not_applied,
    low_precision_outputs_work,
    depends_on_outputs,
    *(check for check in MODULES if check.__name__ != "works_under_autocast"),
)
