"""The format `transformers`: a plain language model as its own class, with its tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from a2a_core.data import Collate
from a2a_core.errors import RunFailed
from a2a_core.export import Exporter, apart, refuse_other
from a2a_core.formats import example, outputs
from a2a_core.model import A2AModel
from a2a_core.pretrained.weights import quiet, reopened
from a2a_llm.vocabulary import unpack

PROBE = "What is this?\n <b>Été</b>, 1 + 1 = 2."


class LanguageModelExport(Exporter):
    """The fusion's language model, alone."""

    def __init__(self, model: A2AModel, collate: Collate) -> None:
        self.model, self.collate = model, collate
        self.language: Any = model.fusion.model
        self.opens = f"transformers: {type(self.language).__name__}.from_pretrained(…)"

    def misfit(self) -> str:
        """Nothing but the language model may hold weights."""
        if self.model.encoders:
            return f"it is a language model alone, and this one has encoders ({', '.join(self.model.encoders)})"
        return beyond(self.model, ["fusion."])

    def write(self, folder: Path) -> None:
        """Weights, configuration, tokenizer, and where answers end."""
        with quiet():
            self.language.save_pretrained(folder)
        tokenizer = written_by(self.model, self.collate)
        generation(tokenizer, self.collate).save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    def compare(self, folder: Path) -> float:
        """Tensors, tokens, logits."""
        auto: Any = AutoModelForCausalLM
        again = reopened(auto, folder)
        refuse_other(self.language.state_dict(), again.state_dict(), folder)
        refuse_other_tokens(AutoTokenizer.from_pretrained(folder, local_files_only=True), self.model, folder)
        inputs = example(self.model)
        return apart(again(inputs["text"]["ids"][None]).logits[0], outputs(self.model, inputs)["logits"])


def beyond(model: A2AModel, held: Iterable[str]) -> str:
    """A complaint about weights that stand elsewhere than in some parts; the losses' own are for training alone."""
    prefixes = (*held, "losses.")
    others = dict.fromkeys(".".join(name.split(".")[:2]) for name in model.state_dict() if not name.startswith(tuple(prefixes)))
    return f"it has no place for {', '.join(f'`{name}`' for name in others)}" if others else ""


def written_by(model: A2AModel, collate: Collate) -> Any:
    """The model's tokenizer as it was given, with the chat template that the run was trained in."""
    tokenizer = unpack(model.parts.fusion.processor().data)  # type: ignore[union-attr]
    if collate.template is not None:
        tokenizer.chat_template = collate.template
    return tokenizer


def generation(tokenizer: Any, collate: Collate) -> GenerationConfig:
    """Special tokens for `generate`: an answer ends where `a2a generate` ends it."""
    stops = list(collate.stop) or [each for each in (tokenizer.eos_token_id,) if each is not None]
    pad = tokenizer.pad_token_id
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=stops[0] if len(stops) == 1 else stops or None,
        pad_token_id=stops[0] if pad is None and stops else pad,
    )


def refuse_other_tokens(found: Any, model: A2AModel, folder: Path) -> None:
    """RunFailed where the reopened tokenizer makes other ids of a text."""
    wanted = unpack(model.parts.fusion.processor().data)  # type: ignore[union-attr]
    for special in (True, False):
        if found(PROBE, add_special_tokens=special)["input_ids"] != wanted(PROBE, add_special_tokens=special)["input_ids"]:
            raise RunFailed(f"the tokenizer in {folder} is not the one that the model was trained with")
