"""One rank of `test_ranks_of_losses`: totals and gradients of its rows' outputs, for each loss, to a file."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from a2a_core.gathering import one_behind_the_other
from a2a_core.plugins import Catalog
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.multi_vector import MultiVectorHead

SIDES = "query", "positive", "negative"
HEADS = {"embedding": EmbeddingHead, "multi-vector": MultiVectorHead}


def main(out: Path, store: str, rank: int, world: int, losses: dict[str, list[Any]], cases: list[list[list[int]]]) -> None:
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    found = [{name: step(*loss, cuts[rank], world) for name, loss in losses.items()} for cuts in cases]
    torch.save(found, out.with_suffix(f".{rank}"))
    if world > 1:
        dist.destroy_process_group()


def step(use: str, options: dict[str, Any], head: str, negatives: int, chosen: list[int], world: int) -> dict[str, Any]:
    """What the loss makes of some of the rows, and what it owes to them and to its parameters, added up over ranks."""
    sides = {"query": "image", "positive": "audio", "negatives": "noise" if negatives else ""}
    module = made(use, **options).build(HEADS[head](**sides))
    outputs = one_behind_the_other([rows(index, head, negatives) for index in chosen])
    targets = {name.removeprefix("of "): outputs.pop(name) for name in list(outputs) if name.startswith("of ")}
    leaves = [outputs[side].requires_grad_() for side in SIDES]
    outputs |= {f"teacher/{name}": value.detach().cumsum(-1) if name in SIDES else value for name, value in outputs.items()}
    total = sum(module(outputs, targets).values())
    total.backward()
    whole = total.detach().clone()
    learned = [parameter.grad for parameter in module.parameters()]
    for tensor in (whole, *learned) if world > 1 else ():
        dist.all_reduce(tensor)
    owed = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
    return {"total": whole, "rows": owed, "learned": learned}


def made(use: str, **options: Any) -> Any:
    """A loss, and the one in it."""
    inner = {name: made(**value) for name, value in options.items() if isinstance(value, dict)}
    return Catalog.installed().find("loss", f"a2a-retrieval:{use}")(**{"head": "pair", **options, **inner})


def rows(index: int, head: str, negatives: int) -> dict[str, torch.Tensor]:
    """One row: its outputs, and its targets as `of <name>`; the third has no positive, the sixth the second's."""
    generator = torch.Generator().manual_seed(index)
    has, several = index != 2, index % (negatives + 1)
    found: dict[str, torch.Tensor] = {}
    for side, count in zip(SIDES, (1, 1, several), strict=True):
        size = (count,) if head == "embedding" else (count, 2 + (index + count) % 3)
        vectors = torch.nn.functional.normalize(torch.randn(*size, 6, generator=generator), dim=-1)
        mask = torch.ones(size, dtype=torch.bool) & (has or side != "positive")
        lead = slice(None) if side != "negative" else None
        found |= {side: vectors[lead], f"{side}_mask": mask[lead]}
    ids = {"query_id": [index + 1], "positive_id": [(101 if index == 5 else 100 + index) * has]}
    ids |= {"negative_id": [[200 + 10 * index + place for place in range(several)]], "relevant": [[100, 0][: index % 3]]}
    numbers = {
        "relevance": [[1.0, 0.0][: index % 3]],
        "score": [float(index % 4)],
        "teacher": [[float(index), *range(several)]],
    }
    found |= {f"of {name}": torch.tensor(value, dtype=torch.int64) for name, value in ids.items()}
    return found | {f"of {name}": torch.tensor(value, dtype=torch.float32) for name, value in numbers.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *map(json.loads, sys.argv[5:]))
