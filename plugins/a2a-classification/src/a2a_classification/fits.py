"""Which heads a loss or a metric can judge. A head says what its outputs are by a property; any plugin's head may have it."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from a2a_core.components import HeadConfig, LossConfig, MetricConfig
from a2a_core.errors import A2AError
from a2a_core.options import Component


class Quality(NamedTuple):
    """What heads with some property have in common, and what of this distribution judges them."""

    what: str
    heads: tuple[str, ...]
    losses: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


QUALITIES = {
    "class_names": Quality(
        "tells classes apart", ("classify", "ordinal"), ("cross-entropy", "focal"), ("accuracy", "f1", "confusion", "kappa")
    ),
    "label_names": Quality(
        "chooses any number of labels",
        ("multi-label",),
        ("binary-cross-entropy", "focal"),
        ("f1", "average-precision", "exact-match"),
    ),
    "cumulative": Quality("orders its classes by thresholds", ("ordinal",), ("coral",)),
    "ordered": Quality("knows an order of its classes", ("ordinal",), (), ("mae",)),
    "scale": Quality("predicts numbers", ("regress",), ("mse",), ("mae",)),
}
"""By the property that such a head has.

`class_names`: the classes, by number; `logits` (B, C), target `label` (B,). `label_names`: as many labels as apply; `logits`
(B, C), targets `labels` and `known` (B, C); and `threshold`, the probability from which on a label is chosen. `cumulative`:
`cumulative` (B, C - 1), a logit for each "above class k". `ordered`: the order of `class_names` means something. `scale`: one
unit of each output in the target's own units; `value` (B, size), targets `value` and `here`. All but the last have a `field`.
"""


def has(head: HeadConfig, quality: str) -> bool:
    """Whether a head says so."""
    return getattr(head, quality, None) not in (None, False)


def classes_of(judge: LossConfig | MetricConfig, head: HeadConfig) -> tuple[str, ...]:
    """The names of a head's classes; A2AError for a head that tells none apart."""
    return tuple(asked(judge, head, "class_names"))


def labels_of(judge: LossConfig | MetricConfig, head: HeadConfig) -> tuple[str, ...]:
    """The names of a head's labels; A2AError for a head that does not choose among any."""
    return tuple(asked(judge, head, "label_names"))


def threshold_of(head: HeadConfig) -> float:
    """The probability from which on a head with `label_names` chooses a label."""
    return float(cast("Any", head).threshold)


def names_of(judge: LossConfig | MetricConfig, head: HeadConfig) -> tuple[str, ...]:
    """The names of a head's classes or labels, whichever it has."""
    return tuple(asked(judge, head, "class_names", "label_names"))


def scale_of(judge: LossConfig | MetricConfig, head: HeadConfig) -> tuple[float, ...]:
    """One unit of each output of a head in the target's own units; A2AError for a head that predicts no numbers."""
    return tuple(asked(judge, head, "scale"))


def asked(judge: LossConfig | MetricConfig, head: HeadConfig, *qualities: str) -> Any:
    """The first of these that a head has; A2AError for a head with none."""
    for quality in qualities:
        if has(head, quality):
            return getattr(head, quality)
    raise unfit(judge, head, *qualities)


def unfit(judge: LossConfig | MetricConfig, head: HeadConfig, *qualities: str) -> A2AError:
    """What to say of a loss or a metric that cannot judge a head with none of these qualities."""
    wanted = " or ".join(f"{QUALITIES[each].what} ({quoted(QUALITIES[each].heads)})" for each in qualities)
    text = f"the {judge.kind} `{judge.name}` judges a head that {wanted}, and `heads.{judge.head}` is `{head.name}`"
    fitting = judges_of(head, judge)
    return A2AError(text, hint=f"`{head.name}` is judged by the {plural(judge, fitting)} {quoted(fitting)}" if fitting else "")


def judges_of(head: HeadConfig, judge: Component) -> tuple[str, ...]:
    """The losses, or the metrics, that fit a head."""
    found: dict[str, None] = {}
    for name, quality in QUALITIES.items():
        if has(head, name):
            found |= dict.fromkeys(quality.losses if judge.kind == "loss" else quality.metrics)
    return tuple(found)


def plural(judge: Component, names: tuple[str, ...]) -> str:
    """`loss`, `losses`, `metric` or `metrics`."""
    return judge.kind if len(names) == 1 else {"loss": "losses", "metric": "metrics"}[judge.kind]


def quoted(names: tuple[str, ...]) -> str:
    """`a`, `b`."""
    return ", ".join(f"`{name}`" for name in names)
