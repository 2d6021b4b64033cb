import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from a2a_core.errors import RunFailed
from a2a_retrieval import exact
from a2a_retrieval.exact import top, top_late


def in_order(scores, k):
    """All scores sorted: the highest first, of equal ones the first."""
    order = np.lexsort((np.broadcast_to(np.arange(scores.shape[1]), scores.shape), -scores), axis=1)[:, :k]
    return torch.tensor(np.take_along_axis(scores, order, 1)), torch.tensor(order)


def whole(high, *shape):
    """Whole numbers, whose products are exact whatever the order of their sum."""
    return torch.randint(-high, high + 1, shape).float()


@pytest.mark.parametrize("high", [1, 100])
@pytest.mark.parametrize("k", [1, 7, 300, 5000])
def test_finds_what_sorting_all_scores_finds_with_the_lowest_place_first_among_equals(high, k):
    queries, documents = whole(high, 9, 4), whole(high, 3001, 4)
    scores, places = in_order((queries @ documents.T).numpy(), k)

    found = top(queries, documents, k)

    assert torch.equal(found.scores, scores)
    assert torch.equal(found.places, places)


@pytest.mark.parametrize("high", [1, 100])
def test_blocks_of_any_size_find_the_same(monkeypatch, high):
    queries, documents = whole(high, 50, 3), whole(high, 2000, 3)
    all_at_once = top(queries, documents, 20)
    for size in (1, 19, 700, 1024):
        monkeypatch.setattr(exact, "DOCUMENTS", size)
        monkeypatch.setattr(exact, "QUERIES", 17)
        assert all(torch.equal(*pair) for pair in zip(top(queries, documents, 20), all_at_once, strict=True))


def test_reads_files_and_blocks_of_any_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(exact, "DOCUMENTS", 64)
    queries, documents = whole(9, 5, 8), whole(9, 500, 8)
    _, places = top(queries, documents, 10)
    np.save(tmp_path / "half.npy", documents.half().numpy())
    save_file({"vectors": documents.to(torch.int8)}, tmp_path / "small.safetensors")

    with safe_open(tmp_path / "small.safetensors", "pt") as file:
        kinds = [
            np.load(tmp_path / "half.npy", mmap_mode="r"),
            file.get_slice("vectors"),
            documents.double().numpy(),
            iter([documents[:100].numpy(), documents[100:].half()]),
        ]
        for kind in kinds:
            assert torch.equal(top(queries, kind, 10).places, places)


def test_finds_no_more_documents_than_there_are():
    assert top(torch.ones(2, 3), torch.ones(4, 3), 10).places.tolist() == [[0, 1, 2, 3]] * 2
    assert top(torch.ones(2, 3), torch.ones(0, 3), 10).places.shape == (2, 0)
    assert top(torch.ones(0, 3), torch.ones(4, 3), 10).places.shape == (0, 4)


def test_no_query_finds_nothing():
    found = top(torch.zeros(0, 4), torch.rand(200, 4), 3)
    assert found.scores.shape == found.places.shape == (0, 3)


def test_refuses_what_cannot_be_compared_or_ranked():
    with pytest.raises(ValueError, match=r"shape \(4, 2\) fit no queries of 3 dimensions"):
        top(torch.ones(2, 3), torch.ones(4, 2), 1)
    with pytest.raises(ValueError, match="at least 1"):
        top(torch.ones(2, 3), torch.ones(4, 3), 0)
    with pytest.raises(RunFailed, match="query 0 and document 2 is not a number"):
        top(torch.eye(2), torch.tensor([[1.0, 0], [1, 0], [1, torch.nan]]), 1)


def late(queries, mask, documents):
    """MaxSim by its definition, one pair at a time."""
    rows = [
        [float((query[seen] @ vectors.T).max(1).values.sum()) for vectors in documents]
        for query, seen in zip(queries, mask, strict=True)
    ]
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize("high", [1, 30])
def test_late_interaction_finds_what_sorting_all_scores_finds(monkeypatch, high):
    monkeypatch.setattr(exact, "DOCUMENTS", 100)
    monkeypatch.setattr(exact, "QUERIES", 12)
    queries, mask = whole(high, 7, 5, 4), torch.rand(7, 5) < 0.7
    mask[:, 0] = True
    lengths = [*torch.randint(1, 9, (400,)).tolist(), 150]  # one alone is longer than a block
    vectors = whole(high, sum(lengths), 4)
    scores, places = in_order(late(queries, mask, vectors.split(lengths)), 15)

    found = top_late(queries, mask, vectors.numpy(), lengths, 15)

    assert torch.equal(found.scores, scores)
    assert torch.equal(found.places, places)


@pytest.mark.parametrize(("rows", "lengths", "width"), [(5, [2, 2], 4), (4, [4, 0], 4), (4, [2, 2], 3)])
def test_late_interaction_refuses_lengths_that_are_not_those_of_the_vectors(rows, lengths, width):
    with pytest.raises(ValueError, match="not those of 2 documents, one at least of each and 4 in all, for queries of 4"):
        top_late(torch.ones(1, 2, 4), torch.ones(1, 2), torch.ones(rows, width), lengths, 1)
