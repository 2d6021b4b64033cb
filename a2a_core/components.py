"""One base class a kind of component. A plugin subclasses them; fields are the recipe's keys, `build` makes the real thing.

Config classes import no torch: modules are imported inside `build`, processors import what they need when they work.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from a2a_core.errors import A2AError
from a2a_core.launchers import LauncherConfig
from a2a_core.options import Component, option
from a2a_core.runners import BackendConfig, CallbackConfig, Fit, TrainerConfig
from a2a_core.structures import Batch, Medium, Output, Processor, Row, Sample, TargetProcessor, TextProcessor, Widths

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from torch import Tensor, nn

    from a2a_core.data import Collate
    from a2a_core.export import Exporter
    from a2a_core.model import A2AModel
    from a2a_core.streams import Stream

Column = Callable[[str], Iterable[Any]]
"""A field's values in the training rows."""


class Rows(Protocol):
    """What a source builds: rows by index, memory-mapped where they are many. Picklable, reads media never.

    It may have `notes`, sentences that the user is shown: what of its files gives no row, and why.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Row: ...
    def column(self, field: str) -> Iterable[Any]:
        """One field of every row (None where absent); KeyError that lists the fields when no row has it."""


class SourceConfig(Component):
    """Where rows come from: `[data.<split>]`."""

    kind = "source"
    may_change: ClassVar[frozenset[str]] = frozenset()
    """Options of the training rows that say where they lie, not which they are; otherwise as in TrainerConfig."""
    must_stay: ClassVar[Mapping[str, str]] = MappingProxyType({})
    streams: ClassVar[bool] = False
    """It builds a Stream: rows without a length, that are read in their order and never by index."""

    @abstractmethod
    def build(self) -> Rows | Stream:
        """Open the rows; A2AError when there are none or the file is not there."""

    def canonical(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of a row that is to be predicted, as `build` would give them; ValueError where it cannot be read."""
        return fields


class EncoderConfig(Component):
    """One modality to tokens: `[encoders.<key>]`. Knows nothing of samples, missing modalities or other encoders."""

    kind = "encoder"
    modality: ClassVar[str] = ""
    reads: ClassVar[Literal["value", "file"]] = "value"
    """"file": a string in the row is a path, relative to the folder of the rows."""
    field: str = option(
        "the row's field that it reads; a list of files or texts is several items (empty: the table's name)", default=""
    )
    reading: ClassVar[frozenset[str]] = frozenset({"field", "optional", "cache", "cache_dtype"})
    """Options that say how rows are read, not what the weights are: those that may differ where `like` shares weights."""
    own: ClassVar[frozenset[str]] = frozenset({"field", "optional"})
    """Those among them that are not taken over from the other encoder: they say what a side is."""
    like: str = option(
        "another encoder whose weights it shares, and whose options it has where it does not say how it reads rows itself",
        default="",
        refers_to="encoders",
    )
    optional: bool = option("no row needs to have it: a field that is missing everywhere is no error", default=False)
    freeze: bool = option("keep the weights as they are", default=False)
    cache: Literal["auto", True, False] = option(
        "compute a frozen encoder's tokens once, and keep them for later epochs and runs", default="auto"
    )
    cache_dtype: Literal["float32", "bfloat16", "float16"] = option("how the cache stores them", default="float32")

    def resolved(self) -> Self:
        """A self-contained copy: what paths say about the architecture is read in, so that weights alone rebuild it."""
        return self

    @abstractmethod
    def processor(self) -> Processor:
        """Raw medium -> Item."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The module: `.width`, `forward(**tensors) -> Tokens`. Initialises itself, runs on the meta device."""

    def load(self, module: nn.Module) -> None:
        """Copy pretrained weights into what `build` made; called on the first build only."""

    def examples(self, folder: Path) -> Sequence[Any]:
        """A few small raw media of different lengths, for the testing kit; files go into `folder`."""
        raise NotImplementedError(f"{type(self).__name__} gives the testing kit no examples()")


class RecordingConfig(EncoderConfig):
    """An encoder of recordings, media that last: a row may say which seconds of one count (see Segment)."""

    reads: ClassVar[Literal["value", "file"]] = "file"
    reading: ClassVar[frozenset[str]] = EncoderConfig.reading | {"start", "end"}
    start: str = option("the row's field with the second that its segment starts at (empty: no segments)", default="start")
    end: str = option("the row's field with the second that its segment ends at", default="end")


class ProjectorConfig(Component):
    """An encoder's tokens to the fusion's width: `[projectors.<encoder>]`."""

    kind = "projector"

    def length(self, tokens: int) -> int:
        """Tokens that it makes of so many."""
        return tokens

    @abstractmethod
    def build(self, width: int, out: int) -> nn.Module:
        """The module: Tokens (N, T, width) -> Tokens (N, length(T), out)."""


class FusionConfig(Component):
    """Many modalities to one: `[fusion]`."""

    kind = "fusion"
    needs_encoders: ClassVar[bool] = True
    """False for one that can do without: it reads a text of its own."""
    reads_text: ClassVar[bool] = False
    """It owns a vocabulary: `processor` gives a text processor, and `[collator]` must be one that reads text."""

    def resolved(self) -> Self:
        """As EncoderConfig.resolved."""
        return self

    def with_tokens(self, tokens: Sequence[str]) -> Self:
        """A copy, not resolved yet, whose vocabulary has these tokens, too; A2AError where it cannot grow."""
        raise A2AError(f"fusion `{self.name}` has no vocabulary that can get new tokens")

    def processor(self) -> TextProcessor | None:
        """The text processor of a fusion that owns a vocabulary, else None."""
        return None

    def media(self) -> Mapping[str, Medium]:
        """Media that it reads itself, without an encoder: it finds each in `inputs` under its name, as an encoder would."""
        return {}

    @abstractmethod
    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """The module: `.input_width` (None: takes each encoder as it is), `.width`, `forward(encoded, inputs) -> Fused`.

        `widths` are the encoders' own; `encoded` maps encoder -> Tokens of N items (see Tokens.by_sample). Of one that owns a
        vocabulary `.vocabulary`, too, and `generate(encoded, inputs, **options)`: the ids that follow each sample's text.
        """

    def load(self, module: nn.Module) -> None:
        """As EncoderConfig.load."""

    def formats(self, model: A2AModel, collate: Collate) -> Mapping[str, Exporter]:
        """Standard formats of whole models that are built around it, by name (`a2a export`)."""
        return {}


class HeadConfig(Component):
    """What is predicted: `[heads.<key>]`."""

    kind = "head"

    def resolved(self, column: Column) -> Self:
        """A self-contained copy: what must be learned from the training rows (class names) is filled in."""
        return self

    def knowing(self, encoders: Mapping[str, EncoderConfig]) -> Self:
        """A copy, of a resolved one, that keeps what it must know of the encoders: their fields, who shares weights."""
        return self

    def processor(self) -> TargetProcessor | None:
        """Encodes a row's target; None for a head without."""
        return None

    def describe(self, target: Any) -> str:
        """What its processor made of a row, not None, as people read it: what is supervised there (`a2a check --deep`)."""
        return str(target)

    @abstractmethod
    def build(self, spec: Widths) -> nn.Module:
        """The module: `forward(fused, inputs, targets=None) -> {name: tensor}`; `predict(outputs)`, a plain value a sample."""

    def examples(self) -> Sequence[Mapping[str, Any]]:
        """Fields of a few rows with its target, different ones, for the testing kit."""
        raise NotImplementedError(f"{type(self).__name__} gives the testing kit no examples()")


class LossConfig(Component):
    """What is minimised: `[losses.<key>]`. Every term is (total, count): the trainer divides once, over window and ranks."""

    kind = "loss"
    scope: ClassVar[Literal["sample", "window"]] = "sample"
    terms: ClassVar[tuple[str, ...]] = ()
    head: str = option("the head whose outputs it judges", refers_to="heads")
    weight: float = option("factor of this loss in the sum", default=1.0, ge=0)

    def resolved(self, head: HeadConfig, column: Column) -> Self:
        """As HeadConfig.resolved (how frequent a class is); `head` is the resolved head that it judges."""
        return self

    def beside(self) -> Mapping[str, str]:
        """Other heads whose outputs it reads, by prefix: `forward` finds them in `outputs` as `<prefix>/<name>`."""
        return {}

    def least(self) -> int:
        """Rows that a step must have: more than one where rows are compared with one another alone."""
        return 1

    def distinct(self, head: HeadConfig) -> str:
        """The row's field whose value no two rows of a step may share, by the resolved head; empty: they may share any."""
        return ""

    @abstractmethod
    def build(self, head: HeadConfig) -> nn.Module:
        """The module. `head` is the resolved head that it judges.

        `count(inputs, targets) -> {term: number}` needs no parameters and no forward pass; `forward(outputs, targets) ->
        {term: total}` with both those of its head alone. A count of 0 gives a total of 0 that is connected to the graph.
        """

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """A head, and outputs and targets of so many samples, the last without a target, for the testing kit."""
        raise NotImplementedError(f"{type(self).__name__} gives the testing kit no examples()")

    def example_inputs(self, size: int, samples: Sequence[int]) -> Mapping[str, Any]:
        """The inputs of some of the `size` samples of `examples`, where `count` reads more of them than how many there are."""
        return {"size": len(samples)}


class Metric(Protocol):
    """Streaming: constant memory, merged over ranks.

    It may have `sections() -> Sequence[Section]` (a2a_core.report): what the report of `a2a eval` shows beside the results:
    notes, tables, curves, and rankings that name queries and documents by encoder and id.
    """

    def update(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        """Take one batch of its head's outputs and targets; samples without a target are left out."""

    def state(self) -> Any:
        """What was seen so far, as tensors, numbers and containers of them."""

    def merge(self, state: Any) -> None:
        """Add what another rank saw."""

    def compute(self) -> Mapping[str, Any]:
        """Name -> number, or a table (a confusion matrix) as nested lists; the first is the metric's own value."""


class MetricConfig(Component):
    """What is reported: `[metrics.<key>]`."""

    kind = "metric"
    higher_is_better: ClassVar[bool] = True
    tabular: ClassVar[bool] = False
    """Its own value is a table, by which nothing can be ranked."""
    head: str = option("the head whose outputs it judges", refers_to="heads")

    @abstractmethod
    def build(self, head: HeadConfig) -> Metric:
        """A fresh metric. `head` is the resolved head that it judges."""

    def refuse(self, head: nn.Module) -> None:
        """A2AError for a head's module whose outputs it cannot judge; asked before a run, on the meta device, too."""

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """As LossConfig.examples."""
        raise NotImplementedError(f"{type(self).__name__} gives the testing kit no examples()")


class CollatorConfig(Component):
    """Samples to a batch: `[collator]`."""

    kind = "collator"
    reads_text: ClassVar[bool] = False
    """It makes `inputs["text"]`, for a fusion that owns a vocabulary."""

    @abstractmethod
    def build(
        self,
        processors: Mapping[str, Processor],
        targets: Mapping[str, TargetProcessor],
        lengths: Mapping[str, Callable[[int], int]],
        text: TextProcessor | None = None,
        modalities: Mapping[str, str] = MappingProxyType({}),
    ) -> Callable[[Sequence[Sample]], Batch]:
        """Encoders' processors, heads' target processors, tokens after a projector, the fusion's text processor -> collate.

        `modalities` says what each encoder reads. What is returned may have more. `read(row, items) -> Text`, of a
        collator that reads text: called for each row beside its processors, its ValueErrors set the row aside. It reads for
        prediction (up to where the answer begins) where `targets` has no TextTarget. `group(lengths) -> list[list[int]]`,
        of one that puts several rows in one place of a batch: it gets each row's tokens, 0 for a row that cannot be read.
        And `stop`, ids, any of which ends a text that is generated; `template`, the chat template by which messages are
        written, for the tokenizer of an export.
        """


class AdapterConfig(Component):
    """The model, changed in place (LoRA, freezing): `[[adapters]]`, in order. Replayed before weights are loaded."""

    kind = "adapter"
    adds: ClassVar[bool] = False
    """It puts weights of its own beside the model's, which `merge` takes into them."""

    def new_tokens(self) -> Sequence[str]:
        """What the fusion's vocabulary must get for it (FusionConfig.with_tokens), before anything is built."""
        return ()

    @abstractmethod
    def apply(self, model: nn.Module) -> None:
        """Change the model; must work on the meta device."""

    def merge(self, model: nn.Module) -> None:
        """Take what it added into the model's own weights, in place; nothing of it is left."""

    def formats(self, model: A2AModel, collate: Collate) -> Mapping[str, Exporter]:
        """Standard formats of what it added, by name (`a2a export`)."""
        return {}


KINDS: dict[str, type[Component]] = {
    base.kind: base
    for base in (
        SourceConfig,
        EncoderConfig,
        ProjectorConfig,
        FusionConfig,
        HeadConfig,
        LossConfig,
        MetricConfig,
        CollatorConfig,
        AdapterConfig,
        TrainerConfig,
        BackendConfig,
        CallbackConfig,
        LauncherConfig,
    )
}

__all__ = [
    "KINDS",
    "AdapterConfig",
    "BackendConfig",
    "Batch",
    "CallbackConfig",
    "CollatorConfig",
    "EncoderConfig",
    "Fit",
    "FusionConfig",
    "HeadConfig",
    "LauncherConfig",
    "LossConfig",
    "Metric",
    "MetricConfig",
    "Output",
    "ProjectorConfig",
    "RecordingConfig",
    "Rows",
    "SourceConfig",
    "TrainerConfig",
]
