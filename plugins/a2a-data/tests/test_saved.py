import json
import pickle

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value

from a2a_core import A2AError
from a2a_data.saved import DatasetsSource


def listed(rows):
    return [dict(rows[index].fields) for index in range(len(rows))]


def test_what_save_to_disk_wrote(tmp_path):
    rows = DatasetsSource.tiny(tmp_path).build()
    assert listed(rows) == [
        {"id": "a", "text": "one", "label": "no"},
        {"id": "b", "text": None, "label": "yes"},
        {"id": "c", "text": "three", "label": "yes"},
    ]
    assert (rows[1].id, rows[1].place, rows[1].root) == ("b", "saved row 1", tmp_path / "saved")
    assert list(rows.column("label")) == ["no", "yes", "yes"]
    assert listed(pickle.loads(pickle.dumps(rows))) == listed(rows)


def test_a_split_columns_and_a_limit(tmp_path):
    data = {
        "train": Dataset.from_dict({"x": [1]}),
        "dev": Dataset.from_dict({"question": ["q1", "q2"], "answer": ["a1", "a2"]}),
    }
    DatasetDict(data).save_to_disk(tmp_path / "both")
    columns = {"query": "question", "positive": "answer"}
    rows = DatasetsSource(path=tmp_path / "both", split="dev", columns=columns, limit=1).build()
    assert listed(rows) == [{"query": "q1", "positive": "a1"}]
    with pytest.raises(A2AError, match="no split `test`"):
        DatasetsSource(path=tmp_path / "both", split="test").build()
    with pytest.raises(A2AError, match="no column `questio`"):
        DatasetsSource(path=tmp_path / "both", split="dev", columns={"query": "questio"}).build()


def test_a_folder_as_the_hub_has_it(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for split in ("train", "test"):
        lines = [json.dumps({"query": f"{split} {number}", "negatives": ["x", "y"]}) for number in range(3)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    rows = DatasetsSource(path=folder, split="test").build()
    assert listed(rows)[2] == {"query": "test 2", "negatives": ["x", "y"]}


def test_media_are_not_decoded(tmp_path):
    pytest.importorskip("PIL.Image")  # the library wants it to write pictures, not to read what was stored
    features = Features({"image": Image(), "others": List(Image()), "label": ClassLabel(names=["a"])})
    stored = {"bytes": b"no picture", "path": None}
    columns = {"image": [stored, None], "others": [[stored], []], "label": [0, None]}
    Dataset.from_dict(columns, features).save_to_disk(tmp_path / "saved")
    rows = DatasetsSource(path=tmp_path / "saved").build()
    assert listed(rows) == [
        {"image": b"no picture", "others": [b"no picture"], "label": "a"},
        {"image": None, "others": [], "label": None},
    ]


def test_what_is_no_data_set(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(A2AError, match="cannot be read as a data set"):
        DatasetsSource(path=tmp_path / "empty").build()
    scripted = tmp_path / "scripted"
    scripted.mkdir()
    (scripted / "scripted.py").write_text("import datasets\n")
    with pytest.raises(A2AError, match="scripts are no longer supported"):
        DatasetsSource(path=scripted).build()
    Dataset.from_dict({"x": []}, Features({"x": Value("int64")})).save_to_disk(tmp_path / "none")
    with pytest.raises(A2AError, match="has no rows"):
        DatasetsSource(path=tmp_path / "none").build()
