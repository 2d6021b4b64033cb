"""Invariants of metrics: streaming, merged over ranks, of constant size."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from torch import Tensor

from a2a_core.components import HeadConfig, Metric, MetricConfig
from a2a_core.testing.check import attempt, expect, fail
from a2a_core.testing.compare import mapped, seeded
from a2a_core.testing.subject import Subject

SIZE = 12
SPLITS = ((1,) * SIZE, (5, 7), (11, 1), (2, 3, 3, 4))
REPEATS = 40
EXAMPLES = """
    def examples(self, size):
        head = ClassifyHead(field="label", classes=["a", "b", "c"])
        labels = torch.arange(size) % 3
        labels[-1] = -100                                    # the last sample has no target
        return head, {"logits": torch.randn(size, 3)}, {"label": labels}
"""


class MetricSubject(Subject[MetricConfig]):
    """A metric with outputs and targets of twelve samples, the last without a target."""

    def prepare(self) -> None:
        """It takes the example and computes."""
        self.value(self.see(self.fresh()))

    @cached_property
    def example(self) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """A head, outputs and targets."""
        config = self.config
        with attempt(f"`{self.cls.__name__}.examples({SIZE})`", remedy=f"give the class\n{EXAMPLES}"), seeded():
            return config.examples(SIZE)

    def fresh(self) -> Metric:
        """A metric that has seen nothing."""
        with attempt("build(head)"):
            return self.config.build(self.example[0])

    def see(self, metric: Metric, samples: Sequence[int] | None = None) -> Metric:
        """Update it with some samples, all by default."""
        chosen = list(range(SIZE)) if samples is None else list(samples)
        _, outputs, targets = self.example
        with attempt(f"update() with {len(chosen)} samples"):
            metric.update(select(outputs, chosen), select(targets, chosen))
        return metric

    def value(self, metric: Metric) -> dict[str, Any]:
        """What it computes."""
        with attempt("compute()"):
            return dict(metric.compute())


def select(values: Mapping[str, Tensor], chosen: list[int]) -> dict[str, Tensor]:
    """Some samples' entries."""
    return {name: value[chosen] if sliced(value) else value for name, value in values.items()}


def sliced(value: Any) -> bool:
    """Has one entry a sample."""
    return isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == SIZE


def chunks(split: Sequence[int]) -> list[list[int]]:
    """The samples, cut into chunks of so many."""
    order = iter(range(SIZE))
    return [[next(order) for _ in range(size)] for size in split]


def alike(one: Any, other: Any) -> bool:
    """Equal but for rounding; NaN is like NaN."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(alike(value, other[name]) for name, value in one.items())
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-6) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def agree(what: str, wanted: Any, got: Any, because: str, remedy: str) -> None:
    """`fail` unless two results are alike."""
    expect(alike(wanted, got), what, f"{wanted} against {got}"[:400], because, remedy)


def computes_plain_values(subject: MetricSubject) -> None:
    """compute() maps names to numbers (tables as nested lists), which JSON can hold; the first is the metric's own."""
    found = subject.value(subject.see(subject.fresh()))
    expect(bool(found), "compute() gives nothing", remedy='return {"accuracy": right / seen}')
    try:
        json.dumps(found)
    except (TypeError, ValueError) as error:
        fail(f"compute() gives what JSON cannot hold: {error}", str(found)[:200], remedy="float(...) or .tolist()")
    first = next(iter(found.values()))
    expect(isinstance(first, (int, float, list)), "the first value, the metric's own, is no number", repr(first)[:200])
    agree(
        "compute() gives something else the second time",
        found,
        subject.value(subject.see(subject.fresh())),
        "state shared by metrics (a class attribute)",
        "make it in build()",
    )


def split_and_merged_is_the_same(subject: MetricSubject) -> None:
    """However the samples are split over batches and ranks, merging the states gives the same values."""
    wanted = subject.value(subject.see(subject.fresh()))
    for split in SPLITS:
        metric, ranks = subject.fresh(), []
        for samples in chunks(split):
            subject.see(metric, samples)
            ranks.append(subject.see(subject.fresh(), samples))
        agree(
            f"updated in batches of {split}, it computes something else",
            wanted,
            subject.value(metric),
            "means of batches are averaged",
            "keep sums and counts; divide in compute()",
        )
        merged = subject.fresh()
        with attempt("merge() of another rank's state()"):
            for rank in ranks:
                merged.merge(rank.state())
        agree(
            f"merged from ranks that saw {split} samples, it computes something else",
            wanted,
            subject.value(merged),
            "merge() averages, replaces or forgets a part of the state",
            "add up sums and counts",
        )


def merging_nothing_changes_nothing(subject: MetricSubject) -> None:
    """A rank that saw nothing merges, either way round."""
    wanted = subject.value(subject.see(subject.fresh()))
    with attempt("merge() of the state() of a metric that saw nothing", remedy="start from zeros, of the final shape"):
        one, other = subject.see(subject.fresh()), subject.fresh()
        one.merge(subject.fresh().state())
        other.merge(subject.see(subject.fresh()).state())
    agree("merging a rank that saw nothing changes the values", wanted, subject.value(one), "", "")
    agree("a rank that saw nothing computes something else after merging all", wanted, subject.value(other), "", "")


def state_travels(subject: MetricSubject) -> None:
    """state() pickles and holds no gradient graph, and merging its copy gives the same values: ranks exchange it."""
    _, outputs, targets = subject.example
    metric = subject.fresh()
    with attempt("update() with outputs that want gradients", remedy="outputs = outputs.detach()"):
        metric.update(mapped(outputs, wanting_gradients), targets)
    wanted = subject.value(metric)
    grown: list[str] = []
    mapped(metric.state(), lambda tensor: grown.append(str(tuple(tensor.shape))) if tensor.requires_grad else None)
    expect(not grown, f"state() holds on to a gradient graph ({', '.join(grown)})", remedy="detach() in update()")
    with attempt(
        "pickling state()", "a lambda, a defaultdict with one, a module", "tensors, numbers, and lists and dicts of them"
    ):
        state = pickle.loads(pickle.dumps(metric.state()))
    other = subject.fresh()
    other.merge(state)
    agree(
        "a pickled and merged state() computes something else", wanted, subject.value(other), "state() leaves something out", ""
    )


def memory_is_constant(subject: MetricSubject) -> None:
    """Neither the state nor the metric grows with what it has seen: an evaluation of millions of samples fits."""
    metric = subject.see(subject.fresh())
    before = weight(metric.state()), weight(vars(metric))
    for _ in range(REPEATS):
        subject.see(metric)
    after = weight(metric.state()), weight(vars(metric))
    for what, small, large in zip(("state()", "the metric"), before, after, strict=True):
        expect(
            large <= small,
            f"after {SIZE * (REPEATS + 1)} samples {what} holds {large} values, after {SIZE} samples {small}",
            because="a list of all predictions",
            remedy="keep sums, counts, a confusion matrix or a histogram of fixed bins",
        )


def unlabelled_samples_count_nothing(subject: MetricSubject) -> None:
    """The last sample has no target: the values are the same without it, and it alone is no error."""
    whole, without = subject.see(subject.fresh()), subject.see(subject.fresh(), range(SIZE - 1))
    agree(
        "a sample without a target changes the values",
        subject.value(without),
        subject.value(whole),
        "the value that stands for no target is compared, or counted",
        "leave out ignored targets in update()",
    )
    nothing = subject.see(subject.fresh(), [SIZE - 1])
    with attempt("compute() where no sample had a target", "a division by 0", "NaN says it: there was nothing to measure"):
        nothing.compute()


def low_precision_outputs_work(subject: MetricSubject) -> None:
    """Outputs in bfloat16, as autocast gives them, are measured."""
    _, outputs, targets = subject.example
    metric = subject.fresh()
    with attempt("update() and compute() with bfloat16 outputs", remedy="outputs.float()"):
        metric.update(mapped(outputs, lambda tensor: tensor.bfloat16() if tensor.is_floating_point() else tensor), targets)
        metric.compute()


def wanting_gradients(tensor: Tensor) -> Tensor:
    """As the forward pass gives it."""
    return (tensor.detach().clone().requires_grad_() * 1) if tensor.is_floating_point() else tensor


def weight(value: Any, seen: frozenset[int] = frozenset()) -> int:
    """How many numbers or other single values something holds."""
    if id(value) in seen:
        return 0
    seen = seen | {id(value)}
    if isinstance(value, Tensor):
        return value.numel()
    if isinstance(value, Mapping):
        return sum(weight(each, seen) for each in value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return sum(weight(each, seen) for each in value)
    if isinstance(value, (str, bytes, bytearray)):
        return len(value)
    size = getattr(value, "size", None)  # numpy
    return (
        size
        if isinstance(size, int)
        else weight(vars(value), seen)
        if hasattr(value, "__dict__") and not callable(value)
        else 1
    )


CHECKS = (
    computes_plain_values,
    split_and_merged_is_the_same,
    merging_nothing_changes_nothing,
    state_travels,
    memory_is_constant,
    unlabelled_samples_count_nothing,
    low_precision_outputs_work,
)
