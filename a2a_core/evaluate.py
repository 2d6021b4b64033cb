"""One pass over a split: losses exactly normalised, metrics merged over ranks. Training and `a2a eval` both use it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
import torch.distributed as dist

from a2a_core import ranks
from a2a_core.data import BadRow
from a2a_core.errors import A2AError
from a2a_core.structures import Batch

if TYPE_CHECKING:
    from a2a_core.components import HeadConfig, Metric, MetricConfig
    from a2a_core.model import A2AModel
    from a2a_core.report import Section

Metrics = dict[str, tuple[str, "Metric"]]
"""Metric key -> its head's key and the metric."""


@runtime_checkable
class Illustrated(Protocol):
    """A metric that has more to show than its results."""

    def sections(self) -> Sequence[Section]:
        """Tables, curves, rankings; asked for once everything has been seen."""


def build_metrics(configs: Mapping[str, MetricConfig], heads: Mapping[str, HeadConfig]) -> Metrics:
    """Fresh metrics for one pass; A2AError where one does not fit its head."""
    found: Metrics = {}
    for key, config in configs.items():
        try:
            found[key] = (config.head, config.build(heads[config.head]))
        except ValueError as error:
            raise A2AError(f"[metrics.{key}] {error}") from error
    return found


def refuse_unfit(configs: Mapping[str, MetricConfig], model: A2AModel) -> None:
    """A2AError for a metric that cannot judge what its head's module gives."""
    for key, config in configs.items():
        try:
            config.refuse(model.heads[config.head])
        except A2AError as error:
            error.table = f"metrics.{key}"
            raise


def moved(value: Any, device: torch.device) -> Any:
    """A batch's tensors on a device; everything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: moved(item, device) for key, item in value.items()}
    return value


def evaluate(
    model: A2AModel,
    batches: Iterable[Batch],
    metrics: Metrics,
    on_bad: Callable[[list[BadRow]], None],
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    on_batch: Callable[[], None] = lambda: None,
    device: torch.device | None = None,
) -> dict[str, Any]:
    """Evaluate; returns `loss`, `loss/<term>` for terms that counted something, and each metric's results.

    A loss of scope `window` is judged batch by batch here. A metric called `accuracy` whose results are {"accuracy": …,
    "top5": …} is reported as `accuracy` (its first value) and `accuracy/top5`. It computes on `device`, where parameters may
    lie elsewhere until they are needed.
    """
    device = device or next(model.parameters()).device
    names = sorted(model.weights())
    totals = torch.zeros(len(names), dtype=torch.float64, device=device)
    counts = torch.zeros_like(totals)
    training = model.training
    model.train(False)
    with torch.no_grad():
        for batch in batches:
            on_bad(batch.get("bad", []))
            counted = model.counts(batch)
            inputs, targets = moved(batch["inputs"], device), moved(batch["targets"], device)
            with autocast():
                output = model(inputs, targets, list(model.losses))
            counts += torch.tensor([counted[name] for name in names], dtype=torch.float64, device=device)
            totals += torch.stack([output.totals[name].double() for name in names]) if names else 0
            for head, metric in metrics.values():
                metric.update(output.outputs[head], targets.get(head, {}))
            on_batch()
    model.train(training)
    if ranks.together():
        dist.all_reduce(totals)
        dist.all_reduce(counts)
        merge_over_ranks(metrics)
    # sums of floats in another order could differ, and ranks decide by them when to stop
    return ranks.first({**losses(model, names, totals, counts), **named(metrics)})


def losses(model: A2AModel, names: list[str], totals: torch.Tensor, counts: torch.Tensor) -> dict[str, float]:
    """The weighted sum and each term's mean; terms that counted nothing are left out."""
    means = {name: total / count for name, total, count in zip(names, totals.tolist(), counts.tolist(), strict=True) if count}
    if not means:
        return {}
    weights = model.weights()
    return (
        {"loss": sum(weights[name] * mean for name, mean in means.items())}
        | {f"loss/{name}": mean for name, mean in means.items() if len(names) > 1}
        | model.by_head(means)
    )


def merge_over_ranks(metrics: Metrics) -> None:
    """Give every rank every rank's state."""
    for _, metric in metrics.values():
        for rank, state in enumerate(ranks.gathered(metric.state())):
            if rank != ranks.rank():
                metric.merge(state)


def named(metrics: Metrics) -> dict[str, Any]:
    """Results under the recipe's names."""
    found = {}
    for key, (_, metric) in metrics.items():
        for place, (name, value) in enumerate(metric.compute().items()):
            found[key if place == 0 else f"{key}/{name}"] = value
    return found


def sections(metrics: Metrics) -> dict[str, Sequence[Section]]:
    """What metrics have to show besides their results, by the recipe's names: those that have `sections()`."""
    return {key: metric.sections() for key, (_, metric) in metrics.items() if isinstance(metric, Illustrated)}
