"""What a2a-classification offers."""

from __future__ import annotations

from collections.abc import Mapping

from a2a_core.hookspecs import hookimpl


@hookimpl
def a2a_heads() -> Mapping[str, str]:
    """One class a sample, or numbers."""
    return {
        "classify": "a2a_classification.classify:ClassifyHead",
        "regress": "a2a_classification.regress:RegressHead",
    }


@hookimpl
def a2a_losses() -> Mapping[str, str]:
    """One for each head."""
    return {
        "cross-entropy": "a2a_classification.cross_entropy:CrossEntropyLoss",
        "mse": "a2a_classification.mse:MseLoss",
    }


@hookimpl
def a2a_metrics() -> Mapping[str, str]:
    """Of classes: accuracy, f1, confusion; of numbers: mae."""
    return {
        "accuracy": "a2a_classification.accuracy:AccuracyMetric",
        "f1": "a2a_classification.f1:F1Metric",
        "confusion": "a2a_classification.confusion:ConfusionMetric",
        "mae": "a2a_classification.mae:MaeMetric",
    }
