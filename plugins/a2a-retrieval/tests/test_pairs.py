import json
from hashlib import blake2b

import pytest
import torch

from a2a_retrieval.pairs import PairTarget

TARGET = PairTarget({"query": ["query"], "positive": ["positive"], "negative": ["negatives"]})
ROW = {"query": "how far", "positive": "a mile", "negatives": ["an hour", "a pound"]}


def hashed(text):
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def names(tensor):
    return [bytes(row).rstrip(b"\0").decode() for row in tensor.tolist()]


def test_without_ids_contents_are_their_own():
    found = TARGET.pad([TARGET(ROW), None, TARGET({"query": "how long", "positive": "an hour"})])
    assert found["query_id"].tolist() == [hashed("how far"), 0, hashed("how long")]
    assert found["positive_id"].tolist() == [hashed("a mile"), 0, hashed("an hour")]
    assert found["negative_id"].tolist() == [[hashed("an hour"), hashed("a pound")], [0, 0], [0, 0]]
    assert names(found["query_name"]) == ["how far", "", "how long"]
    assert found["relevant"].tolist() == [[hashed("a mile")], [0], [hashed("an hour")]]
    assert found["relevance"].tolist() == [[1], [0], [1]]
    assert found["score"].isnan().all()
    assert found["teacher"].isnan().all()
    assert found["teacher"].shape == (3, 1)  # batches are joined with zeros: a row without scores says so itself


def test_ids_of_rows_stand_for_contents():
    ids = {"query_id": 7, "positive_id": "d1", "negative_ids": ["d2", 3]}
    found = TARGET.pad([TARGET(ROW | ids)])
    assert names(found["query_name"]) + names(found["positive_name"]) == ["7", "d1"]
    assert found["negative_id"].tolist() == [[hashed("d2"), hashed("3")]]
    assert found["positive_id"].tolist() == found["relevant"][:, 0].tolist() == [hashed("d1")]


def test_long_contents_are_told_apart_though_their_names_are_short():
    one, other = ("a mile " * 50 + end for end in ("one", "two"))
    found = TARGET.pad([TARGET({"query": "q", "positive": text}) for text in (one, other, one)])
    first, second, again = names(found["positive_name"])
    assert first == again != second
    assert first.startswith("a mile")
    assert found["positive_name"].shape[1] < 100
    assert found["positive_id"][0] == found["positive_id"][2] != found["positive_id"][1]


def test_scores_of_pairs_and_of_teachers():
    found = TARGET.pad([TARGET(ROW | {"score": 3, "teacher_scores": [0.9, 0.1, 0.2]}), TARGET(ROW)])
    assert found["score"].tolist()[0] == 3
    torch.testing.assert_close(found["teacher"][0], torch.tensor([0.9, 0.1, 0.2]))
    assert found["teacher"][1].isnan().all()
    bare = PairTarget({"query": ["query"], "positive": ["positive"]})
    assert bare(ROW | {"teacher_scores": [0.9, 0.1, 0.2]}).teacher == (0.9,)  # the negatives are not read


@pytest.mark.parametrize("relevant", [{"d1": 2, "d2": 0, "d3": None}, [["d1", 2], ["d2", 0]]])
def test_what_answers_a_query_is_graded(relevant):
    found = TARGET(ROW | {"positive_id": "d4", "relevant": relevant})
    assert found.relevant == {"d4": 1, "d1": 2, "d2": 0}
    assert TARGET(ROW | {"positive_id": "d1", "relevant": relevant}).relevant["d1"] == 2


def test_rows_of_a_corpus_and_queries_to_be_evaluated():
    document = TARGET({"positive": "a mile", "positive_id": "d1", "query": None})
    assert (document.query, document.positive, document.relevant) == ("", "d1", {})
    query = TARGET({"query": "how far", "relevant": ["d1", "d2"]})
    assert (query.positive, query.relevant) == ("", {"d1": 1, "d2": 1})
    assert TARGET({}) is TARGET({"query": None, "positive": []}) is None


def test_a_segment_is_part_of_what_a_recording_is():
    target = PairTarget({"query": ["text"], "positive": ["sound", "start", "end"]})
    rows = [{"text": "a", "sound": "x.wav", "start": start, "end": 2} for start in (0, 1, None)]
    assert [target(row).positive for row in rows] == ["x.wav @0 @2", "x.wav @1 @2", "x.wav @2"]


def test_contents_need_not_be_texts():
    target = PairTarget({"query": ["series"], "positive": ["picture"]})
    one, other = (target({"series": [1.0, 2.0], "picture": picture}) for picture in (b"\x00\x01", b"\x00\x02"))
    assert one.query == other.query
    assert one.positive != other.positive


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query": ""}, "`query` is empty"),
        ({"query": " \n"}, "`query` is empty"),
        ({"positive": ""}, "`positive` is empty"),
        ({"positive": None}, "without a positive: `positive` is missing, and there is no `relevant`"),
        ({"positive": ["a mile", "two"]}, "`positive` holds 2: a row has one positive"),
        ({"negatives": ["an hour", ""]}, "`negatives` is empty"),
        ({"negatives": ["an hour", "a mile"]}, "negative 2 is equal to its positive: 'a mile'"),
        ({"positive": "a mile " * 10, "negatives": "a mile " * 10}, f"negative 1 is equal to its positive: '{'a mile ' * 10}'"),
        ({"positive_id": "d1", "negative_ids": ["d2", "d1"]}, "negative 2 is equal to its positive"),
        ({"negative_ids": ["d2"]}, "`negative_ids` has 1 ids, and there are 2 negatives"),
        ({"query_id": 1.5}, "`query_id`: an id is a text or a whole number, got 1.5"),
        ({"score": float("nan")}, "`score`: expected a finite number, got nan"),
        ({"score": True}, "`score`: expected a finite number, got True"),
        ({"teacher_scores": [1.0, 2.0]}, "`teacher_scores` has 2 numbers, and there are 1 positive and 2 negatives"),
        ({"teacher_scores": [1.0, None, 2.0]}, "`teacher_scores` has an empty place"),
        ({"teacher_scores": 1.0}, "`teacher_scores`: expected a list of numbers"),
        ({"relevant": {"d1": "much"}}, "`relevant`: expected a finite number, got 'much'"),
        ({"query": 3.5}, "`query`: expected a text, a file or a list of numbers, got 3.5"),
    ],
    ids=json.dumps,
)
def test_what_a_row_cannot_mean_is_an_error(changes, message):
    with pytest.raises(ValueError, match="^.*" + message.replace("(", r"\(")):
        TARGET(ROW | changes)
