"""What a2a-classification offers."""

from __future__ import annotations

from collections.abc import Mapping

from a2a_core.hookspecs import hookimpl


@hookimpl
def a2a_heads() -> Mapping[str, str]:
    """One class a sample, one rank, any number of labels, or numbers."""
    return {
        "classify": "a2a_classification.classify:ClassifyHead",
        "ordinal": "a2a_classification.ordinal:OrdinalHead",
        "multi-label": "a2a_classification.multi_label:MultiLabelHead",
        "regress": "a2a_classification.regress:RegressHead",
    }


@hookimpl
def a2a_losses() -> Mapping[str, str]:
    """Of classes: cross-entropy, focal, coral; of labels: binary-cross-entropy, focal; of numbers: mse."""
    return {
        "cross-entropy": "a2a_classification.cross_entropy:CrossEntropyLoss",
        "binary-cross-entropy": "a2a_classification.binary_cross_entropy:BinaryCrossEntropyLoss",
        "focal": "a2a_classification.focal:FocalLoss",
        "coral": "a2a_classification.coral:CoralLoss",
        "mse": "a2a_classification.mse:MseLoss",
    }


@hookimpl
def a2a_metrics() -> Mapping[str, str]:
    """Of classes: accuracy, f1, confusion, kappa; of labels: f1, average-precision, exact-match; of numbers, ranks: mae."""
    return {
        "accuracy": "a2a_classification.accuracy:AccuracyMetric",
        "f1": "a2a_classification.f1:F1Metric",
        "confusion": "a2a_classification.confusion:ConfusionMetric",
        "kappa": "a2a_classification.kappa:KappaMetric",
        "average-precision": "a2a_classification.average_precision:AveragePrecisionMetric",
        "exact-match": "a2a_classification.exact_match:ExactMatchMetric",
        "mae": "a2a_classification.mae:MaeMetric",
    }
