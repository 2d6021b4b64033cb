from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from a2a_core import A2AError, Row, Sample
from a2a_core.data import Collate
from a2a_core.generation import generate, sampling
from a2a_core.structures import Text


class Counting:
    """A model that writes as many tokens as it may, each the number of texts that were written to together."""

    def __init__(self, positions: int | None) -> None:
        text = SimpleNamespace(max_length=positions, tokenizer=self)
        self.parts = SimpleNamespace(fusion=SimpleNamespace(processor=lambda: text))
        self.asked: list[dict[str, Any]] = []

    def parameters(self) -> Any:
        return iter([torch.zeros(1)])

    def generate(self, inputs: Any, **options: Any) -> list[list[int]]:
        self.asked.append(options)
        return [[len(inputs["text"]["lengths"])] * options["max_new_tokens"] for _ in inputs["text"]["lengths"]]

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join(map(str, ids))


class Joined:
    """A collator that keeps lengths alone."""

    stop = (7,)

    def __call__(self, samples: Any) -> Any:
        return {"inputs": {"size": len(samples), "text": {"lengths": [each.text.length for each in samples]}}, "ids": []}


def samples(*lengths: int) -> list[Sample]:
    return [Sample(Row({}, "", Path(), ""), {}, {}, Text(torch.zeros(n, dtype=torch.int64), torch.zeros(n))) for n in lengths]


def written(positions: int | None, *lengths: int, **options: Any) -> tuple[list[str], Counting]:
    model: Any = Counting(positions)
    return generate(model, Collate(Joined()), samples(*lengths), **options), model


def test_texts_are_written_together_where_there_is_room() -> None:
    for positions in (None, 12):
        found, model = written(positions, 3, 8, max_new_tokens=5)
        assert found == ["22222", "22222"]
        assert model.asked == [{"max_new_tokens": 5, "do_sample": False, "eos_token_id": [7]}]


def test_a_long_text_takes_no_room_from_its_neighbours() -> None:
    found, _ = written(12, 3, 9, 12, max_new_tokens=5)
    assert found == ["11111", "1111", "1"]
    alone = [written(12, length, max_new_tokens=5)[0][0] for length in (3, 9, 12)]
    assert alone == found
    assert written(12, max_new_tokens=5)[0] == []


def test_chance_is_only_what_was_asked_for() -> None:
    assert sampling() == sampling(temperature=0) == {}
    assert sampling(top_p=0.5) == {"do_sample": True, "temperature": 1.0, "top_p": 0.5, "top_k": 0}
    assert sampling(0.7, top_k=3, seed=1) == {"do_sample": True, "temperature": 0.7, "top_p": 1.0, "top_k": 3}
    assert sampling(seed=0)["do_sample"]
    with pytest.raises(A2AError, match="`top-k` says how to choose"):
        sampling(temperature=0, top_k=3)
