"""`a2a embed` and the engine behind it."""

import json

import numpy as np
import pytest
import torch
from click.exceptions import Abort

from a2a_core.errors import A2AError
from a2a_core.inference import open_run
from a2a_core.structures import Item, Row
from a2a_retrieval import side_reading
from a2a_retrieval.commands.embed import embed
from a2a_retrieval.embedder import Embedder, batches, cost
from a2a_retrieval.vectors import open_vectors

TEXTS = ["a lack of vitamin D", "no", "it is a virus that comes with the cold", "no", "rest", "an old wound, " * 3]


def called(*arguments):
    embed.main([str(each) for each in arguments], standalone_mode=False)


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("suffix", ["safetensors", "npy", "parquet"])
def test_vectors_are_those_of_the_model_one_by_one_and_in_order(suffix, make_run, reference, tmp_path):
    run = make_run()
    file = tmp_path / f"found.{suffix}"
    called(
        run.folder, lines(tmp_path / "rows.jsonl", *({"id": str(n), "positive": t} for n, t in enumerate(TEXTS))), "-o", file
    )
    found = open_vectors(file)
    assert found.ids == [str(number) for number in range(len(TEXTS))]
    torch.testing.assert_close(found[0 : len(TEXTS)], torch.stack(reference(run, "positive", TEXTS)), atol=1e-6, rtol=1e-5)
    assert (found.origin.side, found.origin.head, found.origin.run) == ("positive", "embedding", "mine")
    assert not list(tmp_path.glob(".*"))


def test_what_occurs_twice_is_computed_once_and_batches_change_nothing(make_run, monkeypatch):
    trained = open_run(make_run())
    rows = [Row({"query": text}, str(place), None, f"rows:{place}") for place, text in enumerate(TEXTS)]
    one = Embedder(trained)
    (whole,) = one.embed(rows, one.reading("query"))
    computed = []
    monkeypatch.setattr(side_reading, "ROWS", 4)
    few = Embedder(trained, batch_tokens=40, batch_size=2)
    blocks = list(few.embed(rows, few.reading("query"), computed.append))
    assert [block.numbers for block in blocks] == [[0, 1, 2, 3], [4, 5]]
    assert sum(computed) == 5  # `no` stands twice in the first buffer
    torch.testing.assert_close(torch.cat([block.vectors for block in blocks]), whole.vectors, atol=1e-6, rtol=1e-5)
    assert torch.equal(whole.vectors[1], whole.vectors[3])


def test_batches_hold_what_they_may_and_the_longest_come_first():
    items = [Item({"input_ids": torch.zeros(length, dtype=torch.int64)}, 1) for length in (3, 9, 4, 1, 30, 3)]
    assert [cost(item) for item in items] == [3, 9, 4, 1, 30, 3]
    assert list(batches(items, 20, 99, 1 << 30)) == [[4], [1], [2], [0, 5], [3]]
    assert list(batches(items, 160, 99, 1 << 30)) == [[4], [1, 2, 0], [5, 3]]
    assert [len(batch) for batch in batches(items * 2, 160, 1, 1 << 30)] == [1] * 12
    assert [len(batch) for batch in batches(items * 2, 160, 99, 9 * 8)] == [1, 1, 1, 1, 2, 3, 3]


def test_bad_rows_are_left_out_and_named(make_run, tmp_path, capsys):
    rows = lines(
        tmp_path / "rows.jsonl", {"query": "a"}, {"query": " "}, {"id": "z"}, {"query": 3}, {"query": "b", "id": "last"}
    )
    called(make_run().folder, rows, "-o", tmp_path / "v.npy", "--side", "query")
    assert open_vectors(tmp_path / "v.npy").ids == ["1", "last"]
    said = capsys.readouterr().err
    assert "3 rows left out:" in said
    assert "rows.jsonl:2: `query` is empty" in said
    assert "rows.jsonl:3: there is nothing in field `query`" in said
    assert "rows.jsonl:4" in said


@pytest.mark.parametrize("late", [False, True])
def test_where_nothing_can_be_read_there_is_no_file(late, make_run, tmp_path):
    rows = lines(tmp_path / "rows.jsonl", {"query": ""})
    run = make_run(('use = "embedding"\nnegatives', 'use = "multi-vector"\nnegatives')) if late else make_run()
    with pytest.raises(A2AError, match=r"no row of .*rows.jsonl can be embedded: rows.jsonl:1: `query` is empty"):
        called(run.folder, rows, "-o", tmp_path / "v.safetensors", "--side", "query")
    assert not list(tmp_path.glob("*v.safetensors*"))


def test_what_is_interrupted_leaves_the_old_file(make_run, tmp_path, monkeypatch):
    old = tmp_path / "v.npy"
    old.write_text("old")
    monkeypatch.setattr(side_reading, "ROWS", 2)
    run, made = make_run(), []

    def interrupted(self, buffer, reading, told):
        if made:
            raise KeyboardInterrupt
        made.append(buffer)
        return whole(self, buffer, reading, told)

    whole = Embedder.embedded
    monkeypatch.setattr(Embedder, "embedded", interrupted)
    with pytest.raises(Abort):
        called(run.folder, tmp_path / "corpus.jsonl", "-o", old)
    assert old.read_text() == "old"
    assert [path.name for path in tmp_path.glob("*v.npy*")] == ["v.npy"]


def test_first_numbers_are_of_length_one_again(make_run, tmp_path):
    run = make_run()
    for name, more in (("whole", ()), ("cut", ("--dimension", 5, "--dtype", "float16"))):
        called(run.folder, tmp_path / "queries.jsonl", "-o", tmp_path / f"{name}.npy", *more)
    wanted = torch.nn.functional.normalize(open_vectors(tmp_path / "whole.npy")[0:4][:, :5], dim=-1)
    assert np.load(tmp_path / "cut.npy").dtype == np.float16
    torch.testing.assert_close(open_vectors(tmp_path / "cut.npy")[0:4], wanted, atol=1e-3, rtol=0)
    with pytest.raises(A2AError, match="vectors of 17 numbers are asked for, and those of head `embedding` have 16"):
        called(run.folder, tmp_path / "queries.jsonl", "-o", tmp_path / "more.npy", "--dimension", 17)


def test_vectors_that_are_not_scaled_stay_so(make_run, tmp_path):
    run = make_run(('negatives = "negatives"', 'negatives = "negatives"\nnormalise = false'))
    for name, more in (("whole", ()), ("cut", ("--dimension", 5))):
        called(run.folder, tmp_path / "queries.jsonl", "-o", tmp_path / f"{name}.npy", *more)
    assert torch.equal(open_vectors(tmp_path / "whole.npy")[0:4][:, :5], open_vectors(tmp_path / "cut.npy")[0:4])


def test_a_vector_a_token(make_run, reference, tmp_path):
    run = make_run(
        ('use = "embedding"\nnegatives', 'use = "multi-vector"\ndimension = 6\nnegatives'), ("infonce]\nuse", "infonce]\nuse")
    )
    rows = lines(tmp_path / "rows.jsonl", *({"id": f"i{n}", "query": t} for n, t in enumerate(TEXTS)))
    called(run.folder, rows, "-o", tmp_path / "v.safetensors", "--dtype", "int8", "--batch-size", 3)
    found = open_vectors(tmp_path / "v.safetensors")
    wanted = reference(run, "query", TEXTS)
    assert found.lengths.tolist() == [len(each) for each in wanted]
    torch.testing.assert_close(found[0 : len(found)], torch.cat(wanted), atol=0.5 / 127 + 1e-6, rtol=0)
    with pytest.raises(A2AError, match=r"vector a token, and \.npy files hold one a row"):
        called(run.folder, rows, "-o", tmp_path / "v.npy")


def test_the_side_is_that_whose_field_rows_have(make_run, tmp_path):
    run = make_run()
    with pytest.raises(A2AError, match="both `query` and `positive`.*\n.*`--side`"):
        called(run.folder, tmp_path / "train.jsonl", "-o", tmp_path / "v.npy")
    rows = lines(tmp_path / "rows.jsonl", {"text": "a", "_id": 7})
    with pytest.raises(A2AError, match="neither `query` nor `positive`.*\n.*it has `text`, `_id`"):
        called(run.folder, rows, "-o", tmp_path / "v.npy")
    with pytest.raises(A2AError, match="`--field` is read for a side"):
        called(run.folder, rows, "-o", tmp_path / "v.npy", "--field", "text")
    called(run.folder, rows, "-o", tmp_path / "v.npy", "--field", "text", "--side", "positive")
    assert open_vectors(tmp_path / "v.npy").ids == ["7"]


def test_rows_have_the_columns_of_training_rows(make_run, tmp_path, reference):
    train = tmp_path / "asked.jsonl"
    train.write_text((tmp_path / "train.jsonl").read_text().replace('"query":', '"question":'))
    run = make_run(('path = "train.jsonl"', f'path = "{train}"\ncolumns = {{ query = "question" }}'))
    rows = lines(tmp_path / "rows.jsonl", {"question": "why?"})
    called(run.folder, rows, "-o", tmp_path / "v.npy")
    torch.testing.assert_close(open_vectors(tmp_path / "v.npy")[0:1], torch.stack(reference(run, "query", ["why?"])))


def test_lines_of_a_beir_corpus_are_rows_of_runs_on_one(make_run, tmp_path, reference):
    beir = tmp_path / "beir"
    (beir / "qrels").mkdir(parents=True)
    lines(beir / "corpus.jsonl", {"_id": "a", "title": "Rickets", "text": "a lack"}, {"_id": "b", "text": "rest"})
    lines(beir / "queries.jsonl", {"_id": "1", "text": "why?"})
    (beir / "qrels" / "train.tsv").write_text("1\ta\t1\n")
    run = make_run(('use = "jsonl"\npath = "train.jsonl"', f'use = "beir"\npath = "{beir}"'))
    called(run.folder, beir / "corpus.jsonl", "-o", tmp_path / "v.npy", "--side", "positive")
    found = open_vectors(tmp_path / "v.npy")
    assert found.ids == ["a", "b"]
    torch.testing.assert_close(found[0:2], torch.stack(reference(run, "positive", ["Rickets a lack", "rest"])))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("corpus.jsonl", "-o", "v.bin"), "vectors are not written to `v.bin`"),
        (("corpus.jsonl", "-o", "nowhere/v.npy"), "there is no folder"),
        (("gone.jsonl", "-o", "v.npy"), "there is no file gone.jsonl"),
        (("empty.jsonl", "-o", "v.npy"), "empty.jsonl has no rows"),
        (("list.jsonl", "-o", "v.npy"), "list.jsonl:1 is no JSON object"),
        (("latin.jsonl", "-o", "v.npy"), "latin.jsonl is not UTF-8"),
        (("corpus.jsonl", "-o", "v.npy", "--head", "embeding"), "did you mean `embedding`"),
    ],
)
def test_mistakes_are_named(arguments, message, make_run, tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "list.jsonl").write_text("[]\n")
    (tmp_path / "latin.jsonl").write_bytes(b'{"query": "\xe9"}\n')
    with pytest.raises(A2AError, match=message):
        called(make_run().folder, *arguments)


def test_one_of_several_heads_is_chosen(make_run, tmp_path):
    run = make_run(("[losses.infonce]", '[heads.other]\nuse = "embedding"\ndimension = 4\n[losses.infonce]'))
    with pytest.raises(A2AError, match="2 heads of the run embed: embedding, other"):
        called(run.folder, tmp_path / "corpus.jsonl", "-o", tmp_path / "v.npy")
    called(run.folder, tmp_path / "corpus.jsonl", "-o", tmp_path / "v.npy", "--head", "other")
    assert np.load(tmp_path / "v.npy").shape == (6, 4)
