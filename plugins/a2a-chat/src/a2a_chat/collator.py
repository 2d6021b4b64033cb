"""The collator `chat`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from a2a_core.components import CollatorConfig
from a2a_core.errors import A2AError
from a2a_core.options import option
from a2a_core.structures import Batch, Processor, Sample, TargetProcessor, TextProcessor, TextTarget

if TYPE_CHECKING:
    from a2a_chat.batching import Group
    from a2a_chat.template import Template

TODAY: Final = date(2024, 7, 26)
"""To a template: Llama 3.1's own word for it."""


class ChatCollator(CollatorConfig):
    """Conversations, in any format of the source `chat`, as the text of a language model; texts lie one behind the other.

    A template writes the messages. The tokenizer's own is the default; shipped ones are `chatml`, `gemma`, `llama-3`,
    `plain` (contents alone), `qwen2` and `vicuna` (LLaVA-1.5's). Supervised is what the template has between
    `{% generation %}` and `{% endgeneration %}`: the answer and the token that ends it. In a template without these marks it
    is what each answer adds to the text of the messages before it, up to all that the template puts behind it; where the
    template rewrites earlier messages that cannot be told, and is an error. Text is tokenised once, as a whole:
    what looks like a special token in a content is one, as in transformers.

    A message may have a `weight`, by which its tokens' loss is multiplied (0: it is context alone), and a `tag`. A medium's
    own tokens are never supervised; where several encoders read its modality, it becomes the tokens of each, in the order of
    their names. A row is refused that has other media than its text names, whose messages are out of order, or in which
    nothing is supervised. A plain text is supervised whole.

    A template that asks for today's date, as Llama 3.2's does, is told `date`, so that a run reads the same text on any day.
    The default is the day that Llama's own templates name where they cannot ask.

    `packing` lets rows share places of `max_length` tokens; `tokens` makes batches of rows of like length in place of
    batches of so many rows. Either way the trainer's `batch_size` counts groups of rows, and no row sees another.
    """

    name = "chat"
    reads_text: ClassVar[bool] = True
    template: Literal["own", "chatml", "gemma", "llama-3", "plain", "qwen2", "vicuna"] = option(
        "how messages are written; `own`: as the tokenizer says", default="own"
    )
    template_file: Path | None = option("a template of your own, a .jinja file", default=None, exists=True)
    date: str = option("what a template takes for today, as 2026-01-31", default=TODAY.isoformat())
    train_on: Literal["assistant", "all", "last"] = option(
        "what is supervised: every answer, every message, or the last answer", default="assistant"
    )
    max_length: int = option("the most tokens of a row, and of rows that share a place (0: the fusion's)", default=0, ge=0)
    too_long: Literal["drop", "error"] = option("a longer row is left out, or ends the run", default="drop")
    packing: bool = option("rows share places of `max_length` tokens, by best fit", default=False)
    tokens: int = option("the most tokens of a batch of rows of like length (0: batches have so many rows)", default=0, ge=0)
    buffer: int = option("rows that are put together at a time", default=4096, ge=1)
    eos: bool = option("a plain text ends with the end-of-text token", default=True)

    def check(self) -> None:
        """One template; a day; one way of putting rows together, into which the longest row fits."""
        if self.template != "own" and self.template_file is not None:
            raise ValueError("`template` and `template_file` both name a template: leave one out")
        try:
            date.fromisoformat(self.date)
        except ValueError:
            raise ValueError(f'`date` = "{self.date}" is no day: write one as "{TODAY}"') from None
        if self.packing and self.tokens:
            raise ValueError("`packing` and `tokens` both say which rows are put together: leave one out")
        if 0 < self.tokens < self.max_length:
            raise ValueError(f"a row of `max_length` = {self.max_length} tokens fits in no batch of `tokens` = {self.tokens}")

    def build(
        self,
        processors: Mapping[str, Processor],
        targets: Mapping[str, TargetProcessor],
        lengths: Mapping[str, Callable[[int], int]],
        text: TextProcessor | None = None,
        modalities: Mapping[str, str] = MappingProxyType({}),
    ) -> Callable[[Sequence[Sample]], Batch]:
        """See CollatorConfig.build."""
        if text is None:
            raise A2AError("the collator `chat` makes text, and the fusion reads none", hint="`causal-lm` does, of a2a-llm")
        from a2a_chat.batching import Chat
        from a2a_chat.media import Places
        from a2a_chat.reader import Reader, Settings

        if not getattr(text.tokenizer, "is_fast", False):
            raise A2AError("the fusion's tokenizer does not tell where in a text each token lies: it is no tokenizer.json")
        limit = self.limit(text.max_length)
        labelled = any(isinstance(target, TextTarget) for target in targets.values())
        settings = Settings(
            labelled=labelled,
            train_on=self.train_on,
            limit=limit if labelled else text.max_length,
            strict=self.too_long == "error",
            eos=self.eos,
        )
        reader = Reader(settings, self.chosen(text), Places(text, lengths, modalities))
        blanks = (text.tokenizer.pad_token_id, text.tokenizer.eos_token_id, 0)
        return Chat(processors, targets, reader, self.group(limit), next(each for each in blanks if each is not None))

    def chosen(self, text: TextProcessor) -> Template | None:
        """The template; None where the tokenizer is to have one and has none: plain texts do without."""
        from a2a_chat.template import chosen

        if self.template == "own" and self.template_file is None and not text.tokenizer.chat_template:
            return None
        return chosen(self.template, self.template_file, text.tokenizer, text.parts, date.fromisoformat(self.date))

    def limit(self, most: int | None) -> int | None:
        """The most tokens of a row; A2AError for more than the fusion has positions for."""
        if most is not None and self.max_length > most:
            raise A2AError(f"`collator.max_length` = {self.max_length}, and the fusion has positions for {most} tokens")
        given = [each for each in (self.max_length or most, self.tokens) if each]
        return min(given, default=None)

    def group(self, limit: int | None) -> Group | None:
        """Which rows are put together; None where each stands alone."""
        from a2a_chat.packing import Budget, Packing

        if self.tokens:
            return Budget(self.tokens, self.buffer)
        if not self.packing:
            return None
        if limit is None:
            raise A2AError("`packing` wants `collator.max_length`: the fusion names no limit of its own")
        return Packing(limit, self.buffer)
