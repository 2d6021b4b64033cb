import json
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
DOCUMENTS = {
    "d0": "a lack of vitamin D",
    "d1": "it is a virus",
    "d2": "rest, and much to drink, for a week",
    "d3": "nobody knows",
    "d4": "an old wound",
    "d5": "to see a physician would be well",
}
QUERIES = {"q0": "what causes rickets?", "q1": "what is a cold?", "q2": "what helps?", "q3": "why?"}
RECIPE = """
[data.train]
use = "jsonl"
path = "train.jsonl"
[encoders.query]
use = "embedding"
width = 16
layers = 1
num_heads = 2
dropout = 0.0
max_length = 64
truncate = true
[encoders.positive]
like = "query"
prefix = "passage: "
truncate = true
[encoders.negatives]
like = "query"
optional = true
[fusion]
use = "separate"
[heads.embedding]
use = "embedding"
negatives = "negatives"
[losses.infonce]
use = "infonce"
head = "embedding"
[trainer]
use = "still"
[backend]
use = "still"
"""


@pytest.fixture(autouse=True)
def seed():
    """The same random numbers in every test."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def still(tmp_path_factory):
    """A folder whose dist-info offers the trainer and the backend `still`."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "a2a_still-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a2a-still\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[a2a.plugins]\nstill = still\n")
    (folder / "still.py").write_text((HERE / "still.py").read_text())
    return folder


@pytest.fixture
def make_run(still, tmp_path, monkeypatch):
    """A run with a model of chance, as if it had been trained on `train.jsonl` beside it; recipes may be changed."""
    from a2a_core.export import export
    from a2a_core.job import assemble
    from a2a_core.recipe import load_recipe
    from a2a_core.reporter import Silent
    from a2a_core.runs import Run

    monkeypatch.syspath_prepend(str(still))
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path)

    def make(*changes, name="mine", seed=1):
        text = RECIPE
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        recipe = folder / "recipe.toml"
        recipe.write_text(f"seed = {seed}\n" + text.replace('"train.jsonl"', f'"{tmp_path / "train.jsonl"}"'))
        (folder / "run.json").write_text(json.dumps({"status": "done"}))
        run = Run(folder)
        export(assemble(load_recipe(recipe, None, for_run=True), run, Silent()).model, run.model)
        return run

    return make


def write_rows(folder):
    """Rows to train on, documents, queries."""
    lines = {
        "train.jsonl": [
            {"id": f"r{place}", "query_id": query, "query": text, "positive_id": document, "positive": DOCUMENTS[document]}
            for place, ((query, text), document) in enumerate(zip(QUERIES.items(), DOCUMENTS, strict=False))
        ],
        "corpus.jsonl": [{"id": name, "positive": text} for name, text in DOCUMENTS.items()],
        "queries.jsonl": [{"id": name, "query": text} for name, text in QUERIES.items()],
    }
    for name, rows in lines.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def reference():
    """A run's vectors one by one, by the model's own forward pass: side and texts -> (N, D)."""
    from a2a_core.data import collator, prepare
    from a2a_core.inference import Lines, open_run
    from a2a_core.structures import Row

    def vectors(run, side, texts, head="embedding"):
        trained = open_run(run)
        collate = collator(trained.loaded.recipe.collator, trained.model.parts, labelled=False)
        found = []
        for text in texts:
            data = prepare(Lines([Row({side: text}, "0", Path(), "here")]), trained.model.parts, labelled=False)
            with torch.inference_mode():
                outputs = trained.model(collate([data[0]])["inputs"]).outputs[head]
            value, mask = outputs[side][0], outputs[f"{side}_mask"][0]
            found.append(value[mask] if value.dim() == 2 else value)
        return found

    return vectors
