from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from a2a_core import A2AError
from a2a_text.embedding import EmbeddingEncoder


def encode(encoder: EmbeddingEncoder, module: nn.Module, *texts: str) -> tuple[torch.Tensor, torch.Tensor]:
    processor = encoder.processor()
    with torch.no_grad():
        tokens = module(**processor.pad([processor(text) for text in texts]))
    return tokens.values, tokens.mask


@pytest.fixture
def encoder(tmp_path: Path) -> EmbeddingEncoder:
    return EmbeddingEncoder.tiny(tmp_path)


def test_without_layers_it_is_a_normalised_sum_of_embeddings() -> None:
    encoder = EmbeddingEncoder(width=8, layers=0, num_heads=1, max_length=8)
    module = encoder.build().eval()
    values, _ = encode(encoder, module, "ab")
    rows = module.embeddings.weight[[100, 101, 1]].double() + module.positions[:3].double()
    wanted = (rows - rows.mean(-1, keepdim=True)) / (rows.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(values[0].double(), wanted, rtol=0, atol=1e-4)


def test_layers_against_float64(encoder: EmbeddingEncoder) -> None:
    """One pre-norm layer, written out."""
    module = encoder.build().eval().double()
    x = module.embeddings.weight[[100, 101, 1]] + module.positions[:3]
    layer = module.layers[0]
    q, k, v = (layer.norm1(x) @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias).split(16, -1)
    q, k, v = (part.view(3, 2, 8).transpose(0, 1) for part in (q, k, v))
    attended = ((q @ k.transpose(1, 2) / 8**0.5).softmax(-1) @ v).transpose(0, 1).reshape(3, 16)
    x = x + layer.self_attn.out_proj(attended)
    x = x + layer.linear2(nn.functional.gelu(layer.linear1(layer.norm2(x))))
    torch.testing.assert_close(encode(encoder, module, "ab", "a longer text")[0][0, :3], module.norm(x))


def test_order_counts_and_padding_does_not(encoder: EmbeddingEncoder) -> None:
    module = encoder.build().eval()
    alone, _ = encode(encoder, module, "ab")
    padded, mask = encode(encoder, module, "ab", "ba and much more")
    assert mask.sum(1).tolist() == [3, 17]
    torch.testing.assert_close(padded[0, :3], alone[0], rtol=0, atol=1e-5)
    assert (encode(encoder, module, "ab")[0] - encode(encoder, module, "ba")[0]).abs().max() > 0.01


def test_dropout_is_for_training(encoder: EmbeddingEncoder) -> None:
    module = encoder.build().train()
    assert not torch.equal(encode(encoder, module, "abc")[0], encode(encoder, module, "abc")[0])
    module.eval()
    assert torch.equal(encode(encoder, module, "abc")[0], encode(encoder, module, "abc")[0])


def test_a_tokenizer_gives_the_vocabulary_and_travels_with_the_config(words: Path, bare: Path) -> None:
    encoder = EmbeddingEncoder(width=8, num_heads=2, tokenizer=words.parent)
    assert encoder.build().embeddings.num_embeddings == 12
    assert encoder.processor()("the cat").tensors["input_ids"].tolist() == [2, 9, 5, 3]
    carried = encoder.resolved()
    words.unlink()
    assert carried.tokenizer is None
    assert carried.resolved() == carried
    assert carried.build().embeddings.num_embeddings == 12
    assert carried.processor()("the cat").tensors["input_ids"].tolist() == [2, 9, 5, 3]
    sparse = EmbeddingEncoder(width=8, num_heads=2, layers=1, tokenizer=bare)
    assert sparse.processor()("").tensors["input_ids"].tolist() == [41]
    assert encode(sparse, sparse.build().eval(), "", "the mat")[1].sum(1).tolist() == [1, 2]


def test_contradictions_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`width` = 10 is no multiple of `num_heads` = 4"):
        EmbeddingEncoder(width=10)
    with pytest.raises(ValueError, match="there is no tokenizer at"):
        EmbeddingEncoder(tokenizer=tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(A2AError, match="is no tokenizer"):
        EmbeddingEncoder(tokenizer=tmp_path).processor()


def test_it_learns_word_order(encoder: EmbeddingEncoder) -> None:
    """`ab` against `ba` and `empty` against not: only positions and contents together tell."""
    torch.manual_seed(0)
    module, head = encoder.build(), nn.Linear(16, 3)
    processor = encoder.processor()
    texts = ["ab", "ba", "xab", "xba", "", ""]
    labels = torch.tensor([0, 1, 0, 1, 2, 2])
    batch = processor.pad([processor(text) for text in texts])
    optimizer = torch.optim.AdamW([*module.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(60):
        tokens = module(**batch)
        pooled = (tokens.values * tokens.mask[..., None]).sum(1) / tokens.mask.sum(1, keepdim=True)
        loss = nn.functional.cross_entropy(head(pooled), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
