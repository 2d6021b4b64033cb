"""The model: encoders -> projectors -> fusion -> heads, and the losses beside them, as one transformers model."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from a2a_core.builtin.linear import LinearProjector
from a2a_core.errors import A2AError, Problem
from a2a_core.features import MASK, VALUES
from a2a_core.plugins import Catalog
from a2a_core.pretrained.weights import quiet
from a2a_core.recipe import plain, structure_parts
from a2a_core.structures import Batch, Fused, Output, Tokens, Widths

if TYPE_CHECKING:
    from a2a_core.recipe import Parts

# Trainer and peft import them wherever they are installed: one warns of kernels that nobody asked for, one of a missing GPU
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
logging.getLogger("DeepSpeed").addFilter(lambda record: not str(record.msg).startswith("Setting accelerator to CPU"))


class A2AConfig(PretrainedConfig):
    """The model part of a filled recipe; rebuilds the model without the files that the recipe named."""

    model_type = "a2a"

    def __init__(self, parts: Mapping[str, Any] | None = None, **keywords: Any) -> None:
        self.parts = dict(parts or {})
        super().__init__(**keywords)

    def to_json_string(self, use_diff: bool = True) -> str:
        """In the recipe's order, in which parts run and draw random numbers; transformers would sort them by name."""
        values: dict[str, Any] = json.loads(super().to_json_string(use_diff))
        return json.dumps(values | {"parts": self.parts}, indent=2) + "\n"


class A2AModel(PreTrainedModel):
    """What a recipe describes. Every part's forward runs exactly once a forward pass, whatever modalities a batch holds."""

    config_class = A2AConfig
    base_model_prefix = ""
    main_input_name = "inputs"
    accepts_loss_kwargs = False
    supports_gradient_checkpointing = True  # where a part of it does: trainers ask the parts

    encoders: nn.ModuleDict
    projectors: nn.ModuleDict
    heads: nn.ModuleDict
    losses: nn.ModuleDict
    thaws: dict[str, float]
    """Parameters that are trained later, by name: from which optimizer step on; below 1, a share of all steps.

    Adapters write it and trainers keep to it, by dropping gradients: the graph is the same in every step.
    """

    def __init__(
        self,
        config: A2AConfig,
        parts: Parts | None = None,
        load: bool = False,
        start: Callable[[A2AModel], None] | None = None,
    ) -> None:
        super().__init__(config)
        self.parts = structure_parts(config.parts, Catalog.installed()) if parts is None else parts
        self.thaws = {}
        self._build()
        if load:
            self._load_pretrained()
        if start is not None:
            start(self)
        for number, adapter in enumerate(self.parts.adapters):
            try:
                adapter.apply(self)
            except A2AError as error:
                error.table = f"adapters.{number}"
                raise
        for key, module in self.encoders.items():
            if self.parts.encoders[key].freeze:
                module.requires_grad_(False)
        self._refuse_thaws()
        self.frozen = frozenset(name for name, parameter in self.named_parameters() if not parameter.requires_grad)
        self.training = False
        self.train()
        self.post_init()  # type: ignore[no-untyped-call]
        # transformers collects tied weights from direct children only; a part may hold a whole model deeper down
        self.all_tied_weights_keys = self.get_expanded_tied_weights_keys(all_submodels=True)

    @classmethod
    def from_parts(cls, parts: Parts, start: Callable[[A2AModel], None] | None = None) -> Self:
        """Build for the first time, pretrained weights included. `parts` are resolved (see EncoderConfig.resolved).

        `start` gives it other weights than these, before adapters change it.
        """
        return cls(A2AConfig(parts=plain(parts)), parts, load=True, start=start)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, path: str | os.PathLike[str], *args: Any, **keywords: Any
    ) -> Any:
        """Load what `save_pretrained` wrote; a tensor that is missing, left over or of another shape is an A2AError."""
        wants_info = keywords.pop("output_loading_info", False)
        load: Any = super().from_pretrained
        with quiet():
            model, info = load(path, *args, output_loading_info=True, ignore_mismatched_sizes=True, **keywords)
        problems = [
            Problem(f"{path}: {what} tensor `{name}`")
            for what, key in (("missing", "missing_keys"), ("left-over", "unexpected_keys"), ("misshapen", "mismatched_keys"))
            for name in sorted(str(entry[0] if isinstance(entry, tuple) else entry) for entry in info[key])
        ]
        if problems:
            raise A2AError(problems)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name not in model.frozen)  # loading makes new parameters
        return (model, info) if wants_info else model

    def save_pretrained(self, *args: Any, **keywords: Any) -> None:
        """As transformers does it, without its progress bar and without giving tensors back the names of old checkpoints."""
        with quiet():
            super().save_pretrained(*args, **{"save_original_format": False, **keywords})

    def _build(self) -> None:
        """Encoders first, for their widths; then the fusion, for its input width; then what stands between and behind."""
        parts = self.parts
        if parts.fusion.needs_encoders and not parts.encoders:
            raise A2AError(f"fusion `{parts.fusion.name}` joins what encoders give, and the model has none")
        encoders: dict[str, Any] = {key: each.build() for key, each in parts.encoders.items() if parts.owner(key) == key}
        own = {key: int(module.width) for key, module in encoders.items()}
        fusion: Any = parts.fusion.build({key: own[parts.owner(key)] for key in parts.encoders})
        self.encoders, self.fusion = nn.ModuleDict(encoders), fusion
        wanted = fusion.input_width
        self.projectors = nn.ModuleDict()
        for key, width in own.items():
            projector = parts.projectors.get(key)
            if projector is None and wanted is not None and width != wanted:
                projector = LinearProjector()
            if projector is not None:
                own[key] = width if wanted is None else int(wanted)
                self.projectors[key] = projector.build(width, own[key])
        widths = {key: own[parts.owner(key)] for key in parts.encoders}
        spec = Widths(fusion.width, widths, getattr(fusion, "vocabulary", None))
        self.heads = nn.ModuleDict({key: head.build(spec) for key, head in parts.heads.items()})
        self.losses = nn.ModuleDict({key: loss.build(parts.heads[loss.head]) for key, loss in parts.losses.items()})

    def _load_pretrained(self) -> None:
        for key, module in self.encoders.items():
            self.parts.encoders[key].load(module)
        self.parts.fusion.load(self.fusion)

    def _refuse_thaws(self) -> None:
        """What is to be trained later must be there, and trainable."""
        trainable = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        for name in sorted(self.thaws.keys() - trainable):
            what = "is frozen for ever, too" if name in dict(self.named_parameters()) else "has another name after that"
            hint = "`freeze` of the encoder, and what stands behind it in `[[adapters]]`, is at odds with `until`"
            raise A2AError(f"`{name}` is frozen until a step by an adapter, and {what}", hint=hint)

    def _init_weights(self, module: nn.Module) -> None:
        """Parts initialise themselves."""

    def initialize_weights(self) -> None:
        """Make the buffers again that are not saved: loading leaves them as garbage.

        transformers would pass over modules that hold no tensors themselves.
        """
        super().initialize_weights()  # type: ignore[no-untyped-call]
        for module in self.modules():
            reset = getattr(module, "reset_buffers", None)
            if reset is not None:
                reset()

    def train(self, mode: bool = True) -> Self:
        """Frozen encoders stay in evaluation mode, so that their dropout and statistics stay off."""
        if mode and self.training:
            return self  # trainers ask for it before every step, and walking all modules takes its time
        super().train(mode)
        for encoder in self.encoders.values():
            if not any(parameter.requires_grad for parameter in encoder.parameters()):
                encoder.eval()
        return self

    def encode(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Tokens], Tensor]:
        """Each encoder's tokens of its real items (N, T, C), and a zero that depends on every encoder and projector.

        A modality that the batch lacks runs on the collator's dummy item, of which nothing is kept. Encoders that share
        weights run once each.
        """
        encoded, anchors = {}, []
        for key in self.parts.encoders:
            media = inputs[key]
            tokens = self.tokens(key, media["tensors"])
            real = media["row"].shape[0]
            anchors.append(tokens.values[:0].sum())
            encoded[key] = Tokens(tokens.values[:real], tokens.mask[:real], media["row"], media["slot"], media["slots"])
        return encoded, torch.stack([anchor.float() for anchor in anchors]).sum() if anchors else torch.zeros(())

    def encoder(self, key: str) -> nn.Module:
        """An encoder's module, which it may share with others."""
        return self.encoders[self.parts.owner(key)]

    def tokens(self, key: str, tensors: Mapping[str, Tensor]) -> Tokens:
        """What one encoder, and the projector behind it, make of padded items (N, …): (N, T, C).

        A frozen encoder whose tokens were computed before (Job.cache_features) is not run, on any rank.
        """
        owner = self.parts.owner(key)
        found: Tokens = Tokens(tensors[VALUES], tensors[MASK]) if VALUES in tensors else self.encoders[owner](**tensors)
        return self.projectors[owner](found) if owner in self.projectors else found

    def forward(
        self, inputs: Mapping[str, Any], targets: Mapping[str, Mapping[str, Tensor]] | None = None, losses: Iterable[str] = ()
    ) -> Output:
        """Outputs of every head and totals of the named losses (not divided by their counts, not weighted)."""
        encoded, anchor = self.encode(inputs)
        fused: Fused = self.fusion(encoded, inputs)._replace(encoded=encoded)
        given = targets or {}
        outputs = {key: head(fused, inputs, given.get(key)) for key, head in self.heads.items()}
        return Output(outputs, self.totals(outputs, given, losses), anchor)

    def generate(self, inputs: Mapping[str, Any], **options: Any) -> list[list[int]]:
        """The ids that follow each sample's text, by a fusion that owns a vocabulary; see a2a_core.generation."""
        fusion: Any = self.fusion
        encoded, _ = self.encode(inputs)
        found: list[list[int]] = fusion.generate(encoded, inputs, **options)
        return found

    def totals(
        self, outputs: Mapping[str, Any], targets: Mapping[str, Mapping[str, Tensor]], losses: Iterable[str]
    ) -> dict[str, Tensor]:
        """Each term of the named losses as `<loss>/<term>`, summed over the batch."""
        found = {}
        for key in losses:
            loss = self.parts.losses[key]
            judged = dict(outputs[loss.head])
            for prefix, head in loss.beside().items():
                judged |= {f"{prefix}/{name}": value for name, value in outputs[head].items()}
            for term, total in self.losses[key](judged, targets.get(loss.head, {})).items():
                found[f"{key}/{term}"] = total
        return found

    def counts(self, batch: Batch) -> dict[str, float]:
        """What each term's total is to be divided by, for this batch (on the CPU) alone; needs no forward pass."""
        found = {}
        for key, loss in self.parts.losses.items():
            module: Any = self.losses[key]
            counted = module.count(batch["inputs"], batch["targets"].get(loss.head, {}))
            for term, count in counted.items():
                found[f"{key}/{term}"] = float(count)
        return found

    def by_head(self, means: Mapping[str, float]) -> dict[str, float]:
        """`head_loss/<head>`: the weighted sum of each head's terms, where several heads have losses."""
        weights, found = self.weights(), dict[str, float]()
        for key, loss in self.parts.losses.items():
            for name in (f"{key}/{term}" for term in loss.terms):
                if name in means:
                    label = f"head_loss/{loss.head}"
                    found[label] = found.get(label, 0.0) + weights[name] * means[name]
        return found if len(found) > 1 else {}

    def weights(self) -> dict[str, float]:
        """Each term's factor in the sum."""
        return {f"{key}/{term}": loss.weight for key, loss in self.parts.losses.items() for term in loss.terms}
