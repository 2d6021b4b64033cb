"""`a2a search`."""

import io
import json

import pytest
import torch

from a2a_core.errors import A2AError
from a2a_retrieval import side_reading
from a2a_retrieval.commands.embed import embed
from a2a_retrieval.commands.search import search

LATE = ('use = "embedding"\nnegatives', 'use = "multi-vector"\nnegatives')


def called(*arguments):
    search.main([str(each) for each in arguments], standalone_mode=False)


def embedded(*arguments):
    embed.main([str(each) for each in arguments], standalone_mode=False)


def texts(path, field):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["id"]: row[field] for row in rows}


def answers(capsys):
    """Each query's ids and scores."""
    lines = capsys.readouterr().out.splitlines()
    return [[(each["id"], each["score"]) for each in json.loads(line)["results"]] for line in lines]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("corpus", ["corpus.jsonl", "v.safetensors"])
def test_the_best_of_each_query(corpus, late, make_run, reference, tmp_path, capsys, monkeypatch):
    """As by all scores, of vectors made one by one; rows in buffers of four, and in a file."""
    run = make_run(LATE) if late else make_run()
    embedded(run.folder, tmp_path / "corpus.jsonl", "-o", tmp_path / "v.safetensors")
    monkeypatch.setattr(side_reading, "ROWS", 4)
    capsys.readouterr()
    called(run.folder, tmp_path / corpus, tmp_path / "queries.jsonl", "-k", 3, "--json")
    documents = texts(tmp_path / "corpus.jsonl", "positive")
    given = reference(run, "positive", documents.values())
    asked = reference(run, "query", texts(tmp_path / "queries.jsonl", "query").values())
    score = (lambda q, d: (q @ d.T).amax(1).sum()) if late else torch.dot
    wanted = [
        sorted(((float(score(q, d)), name) for d, name in zip(given, documents, strict=True)), reverse=True) for q in asked
    ]
    found = answers(capsys)
    assert [[name for name, _ in each] for each in found] == [[name for _, name in each[:3]] for each in wanted]
    for mine, theirs in zip(found, wanted, strict=True):
        assert [value for _, value in mine] == pytest.approx([value for value, _ in theirs[:3]], abs=1e-5)


def test_one_query_is_shown_with_the_beginning_of_what_it_found(make_run, tmp_path, capsys):
    run = make_run()
    rows = tmp_path / "corpus.jsonl"
    rows.write_text(rows.read_text() + json.dumps({"id": "long", "positive": "why? " * 100 + "\x1b[31m"}) + "\n")
    called(run.folder, rows, "why?", "-k", 99)
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert not printed.err
    assert len(lines) == 7  # k is more than there are
    assert [line.split()[0] for line in lines] == list("1234567")
    assert all(len(line) <= 80 and "\x1b" not in line for line in lines)
    assert any("nobody knows" in line for line in lines)
    scores = [float(line.split()[1]) for line in lines]
    assert scores == sorted(scores, reverse=True)


def test_rows_behind_vectors_are_shown(make_run, tmp_path, capsys):
    run = make_run()
    embedded(run.folder, tmp_path / "corpus.jsonl", "-o", tmp_path / "v.npy")
    capsys.readouterr()
    called(run.folder, tmp_path / "v.npy", "why?", "-k", 1)
    assert "nobody" not in capsys.readouterr().out
    called(run.folder, tmp_path / "v.npy", "why?", "-k", 6, "--rows", tmp_path / "corpus.jsonl")
    assert "nobody knows" in capsys.readouterr().out
    called(run.folder, tmp_path / "v.npy", "why?", "--rows", tmp_path / "queries.jsonl")
    assert "queries.jsonl has an id of what was found" in capsys.readouterr().err


def test_queries_come_from_lines_and_from_files(make_run, tmp_path, capsys, monkeypatch):
    run, asked = make_run(), []
    (tmp_path / "asked.txt").write_text("what helps?")
    monkeypatch.setattr("sys.stdin", io.StringIO("what helps?\n\nwhy?\n"))
    for query in ("-", f"@{tmp_path / 'asked.txt'}", "what helps?"):
        called(run.folder, tmp_path / "corpus.jsonl", query, "--json")
        asked.append(answers(capsys))
    assert [len(each) for each in asked] == [2, 1, 1]
    for each in asked[:2]:
        assert dict(each[0]) == pytest.approx(dict(asked[2][0]), abs=1e-6)
    (tmp_path / "some.jsonl").write_text('{"query": "why?"}\n{"query": ""}\n')
    called(run.folder, tmp_path / "corpus.jsonl", tmp_path / "some.jsonl", "--json")
    printed = capsys.readouterr()
    assert "some.jsonl:2: `query` is empty" in printed.err
    assert len(printed.out.splitlines()) == 1


def test_queries_are_searched_with_documents(make_run, reference, tmp_path, capsys):
    run = make_run()
    embedded(run.folder, tmp_path / "queries.jsonl", "-o", tmp_path / "v.npy", "--dimension", 6)
    for corpus in ("queries.jsonl", "v.npy"):
        capsys.readouterr()
        called(run.folder, tmp_path / corpus, "it is a virus", "-k", 1, "--json")
        ((best,),) = answers(capsys)
        size = 6 if corpus == "v.npy" else 16
        queries = torch.stack(reference(run, "query", texts(tmp_path / "queries.jsonl", "query").values()))[:, :size]
        scores = torch.nn.functional.normalize(queries, dim=-1) @ torch.nn.functional.normalize(
            reference(run, "positive", ["it is a virus"])[0][:size], dim=0
        )
        assert best == (f"q{int(scores.argmax())}", pytest.approx(float(scores.max()), abs=1e-5))


def test_vectors_of_another_model_are_refused(make_run, tmp_path):
    embedded(make_run().folder, tmp_path / "corpus.jsonl", "-o", tmp_path / "v.npy")
    other = make_run(name="other", seed=2)
    with pytest.raises(A2AError, match=r"holds vectors of another model: of run mine, and this is other(.|\n)*`a2a embed`"):
        called(other.folder, tmp_path / "v.npy", "why?")
    more = ("[losses.infonce]", '[heads.other]\nuse = "embedding"\ndimension = 4\n[losses.infonce]')
    third = make_run(more, name="third")
    embedded(third.folder, tmp_path / "corpus.jsonl", "-o", tmp_path / "w.npy", "--head", "other")
    called(third.folder, tmp_path / "w.npy", "why?")
    with pytest.raises(A2AError, match="holds vectors of head `other`, not `embedding`"):
        called(third.folder, tmp_path / "w.npy", "why?", "--head", "embedding")


@pytest.mark.parametrize(
    ("corpus", "query", "message"),
    [
        ("corpus.jsonl", " ", "the query is empty"),
        ("corpus.jsonl", "@gone.txt", "there is no file gone.txt"),
        ("corpus.jsonl", "gone.jsonl", "there is no file gone.jsonl"),
        ("corpus.jsonl", "blank.jsonl", "there is no query"),
        ("corpus.jsonl", "@blank.jsonl", "the query cannot be read: `query` is empty"),
        ("gone.jsonl", "why?", "there is no file gone.jsonl"),
        ("blank.jsonl", "why?", "blank.jsonl has no rows"),
        ("hollow.jsonl", "why?", "no document that can be read: hollow.jsonl:1: `positive` is empty"),
        ("text.npy", "why?", "text.npy is no file of vectors"),
        ("text.bin", "why?", "text.bin:1 is not JSON"),
        ("binary.bin", "why?", "binary.bin is not UTF-8"),
    ],
)
def test_mistakes_are_named(corpus, query, message, make_run, tmp_path):
    (tmp_path / "blank.jsonl").write_text("\n")
    (tmp_path / "hollow.jsonl").write_text('{"positive": ""}\n')
    (tmp_path / "binary.bin").write_bytes(b"\xff\xfe\x00")
    for name in ("text.npy", "text.bin"):
        (tmp_path / name).write_text("no vectors")
    with pytest.raises(A2AError, match=message):
        called(make_run().folder, corpus, query)


def test_a_file_without_vectors_is_said(make_run, tmp_path):
    from a2a_retrieval.fingerprint import Origin, fingerprint
    from a2a_retrieval.vectors_writing import writing

    run = make_run()
    with writing(tmp_path / "v.npy", Origin(fingerprint(run), "mine", "embedding", "positive", 16, True)):
        pass
    with pytest.raises(A2AError, match="v.npy has no vectors"):
        called(run.folder, tmp_path / "v.npy", "why?")
