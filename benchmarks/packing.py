"""Real tokens a second, packed and unpadded, against stock transformers on padded batches of the same texts.

A Llama of 4 million parameters trains (forward and backward) on texts whose lengths are log-normal (mean 128, at most 512).
Stock is `LlamaForCausalLM` on batches of 16 texts, padded to the longest, with a mask and labels of -100. Ours is the fusion
`causal-lm` with the loss `next-token` on places of 2048 tokens that the collator `chat` packs: texts one behind the other, each
attending to itself. Same weights, same texts; losses are compared. On a GPU, where there is one, in bfloat16. Target: 3.0x.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from a2a_chat.packing import Packing
from a2a_llm.causal_lm_model import CausalLmModel
from a2a_llm.next_token_model import NextTokens

TEXTS, MEAN, LONGEST, ROWS, PLACE, ROUNDS = 128, 128, 512, 16, 2048, 3
TARGET = 3.0


def lengths() -> list[int]:
    """Log-normal, sigma 1, cut at the longest."""
    random = np.random.default_rng(0)
    drawn = random.lognormal(np.log(MEAN) - 0.5, 1.0, 10 * TEXTS)
    return [int(each) for each in drawn if 2 <= each <= LONGEST][:TEXTS]


def stock(texts: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """Padded batches in the order of the texts."""
    found = []
    for start in range(0, len(texts), ROWS):
        several = texts[start : start + ROWS]
        ids = torch.nn.utils.rnn.pad_sequence(several, batch_first=True)
        mask = torch.arange(ids.shape[1]) < torch.tensor([len(each) for each in several])[:, None]
        found.append({"input_ids": ids, "attention_mask": mask.long(), "labels": ids.masked_fill(~mask, -100)})
    return found


def packed(texts: list[torch.Tensor]) -> list[tuple[dict[str, Any], dict[str, torch.Tensor]]]:
    """Places, each a batch."""
    found = []
    for group in Packing(PLACE, 4096)([len(each) for each in texts]):
        several = [texts[place] for place in group]
        starts = np.cumsum([0, *map(len, several)])
        index = torch.cat([torch.arange(len(each) - 1) + int(start) for each, start in zip(several, starts, strict=False)])
        text = {
            "ids": torch.cat(several),
            "positions": torch.cat([torch.arange(len(each)) for each in several]),
            "lengths": [len(each) for each in several],
            "media": {},
        }
        targets = {"index": index, "labels": text["ids"][index + 1], "weights": torch.ones(len(index))}
        found.append(({"size": len(several), "text": text}, targets))
    return found


def fastest(once: Callable[[], float], cuda: bool) -> tuple[float, float]:
    """Seconds, and the sum of all losses."""
    took, total = [], 0.0
    for _ in range(ROUNDS):
        began = time.perf_counter() if cuda else time.process_time()
        total = once()
        took.append((time.perf_counter() if cuda else time.process_time()) - began)
    return min(took), total


def to(value: Any, device: str) -> Any:
    """Tensors on a device."""
    if isinstance(value, dict):
        return {key: to(each, device) for key, each in value.items()}
    return value.to(device) if isinstance(value, torch.Tensor) else value


def main() -> int:
    """Print tokens a second and the ratio; 1 if it is missed."""
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096, hidden_size=192, intermediate_size=512, num_hidden_layers=6, num_attention_heads=6, use_cache=False
    )
    texts = [torch.randint(config.vocab_size, (length,)) for length in lengths()]
    tokens = sum(map(len, texts))
    ours = CausalLmModel(config).to(device)
    model: Any = LlamaForCausalLM(config).to(device)
    model.load_state_dict(ours.model.state_dict())
    loss = NextTokens(0.0, 0.0)
    padded = [to(each, device) for each in stock(texts)]
    places = [(to(inputs, device), to(targets, device)) for inputs, targets in packed(texts)]

    def by_stock() -> float:
        total = 0.0
        for batch in padded:
            several = (batch["labels"][:, 1:] != -100).sum()
            with torch.autocast(device, torch.bfloat16, enabled=cuda):
                found = model(**batch).loss * several
            found.backward()
            total += float(found.detach())
        model.zero_grad()
        return total

    def by_us() -> float:
        total = 0.0
        for inputs, targets in places:
            with torch.autocast(device, torch.bfloat16, enabled=cuda):
                fused = ours({}, inputs)
                given = {"hidden": fused.hidden.index_select(0, targets["index"]), "unembed": fused.unembed}
                found = loss(given, targets)["next_token"]
            found.backward()
            total += float(found.detach())
        ours.zero_grad()
        return total

    (slow, wanted), (fast, got) = fastest(by_stock, cuda), fastest(by_us, cuda)
    real = tokens / sum(each["input_ids"].numel() for each in padded)
    filled = tokens / (len(places) * PLACE)
    print(f"{len(texts)} texts, {tokens} tokens; {real:.0%} of padded positions are real, {filled:.1%} of packed ones")
    print(f"padded {tokens / slow:8.0f} tokens/s   loss {wanted / (tokens - len(texts)):.4f}")
    print(f"packed {tokens / fast:8.0f} tokens/s   loss {got / (tokens - len(texts)):.4f}")
    print(f"ratio {slow / fast:.2f} (target {TARGET})")
    return int(slow / fast < TARGET or abs(wanted - got) > 1e-3 * abs(wanted))


if __name__ == "__main__":
    sys.exit(main())
