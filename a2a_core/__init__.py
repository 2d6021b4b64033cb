"""The a2a core: contracts, plugins, recipes, the model. Importing it imports no torch."""

from a2a_core.components import (
    AdapterConfig,
    BackendConfig,
    CallbackConfig,
    CollatorConfig,
    EncoderConfig,
    FusionConfig,
    HeadConfig,
    LossConfig,
    Metric,
    MetricConfig,
    ProjectorConfig,
    RecordingConfig,
    Rows,
    SourceConfig,
    TrainerConfig,
)
from a2a_core.errors import A2AError, Problem, RunFailed
from a2a_core.hookspecs import hookimpl
from a2a_core.options import Options, option
from a2a_core.structures import Batch, Fused, Item, Output, Processor, Row, Sample, Segment, TargetProcessor, Tokens, Widths

__all__ = [
    "A2AError",
    "AdapterConfig",
    "BackendConfig",
    "Batch",
    "CallbackConfig",
    "CollatorConfig",
    "EncoderConfig",
    "Fused",
    "FusionConfig",
    "HeadConfig",
    "Item",
    "LossConfig",
    "Metric",
    "MetricConfig",
    "Options",
    "Output",
    "Problem",
    "Processor",
    "ProjectorConfig",
    "RecordingConfig",
    "Row",
    "Rows",
    "RunFailed",
    "Sample",
    "Segment",
    "SourceConfig",
    "TargetProcessor",
    "Tokens",
    "TrainerConfig",
    "Widths",
    "hookimpl",
    "option",
]
