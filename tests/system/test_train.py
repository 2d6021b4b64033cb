import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from a2a_core.model import A2AModel
from a2a_core.runs import Run


def test_a_run_shows_its_results_and_where_they_lie(trained: Any) -> None:
    run = Run(trained.folder / "runs" / "mine")
    assert run.status == "done"
    state = run.state
    assert state["results"]["validation"]["accuracy"] >= 0.9
    assert (run.folder / "tensorboard").is_dir()
    assert not run.quarantine.exists()
    environment = json.loads((run.folder / "environment.json").read_text())
    assert {"a2a", "python", "plugins", "packages", "seed", "overrides"} <= environment.keys()
    assert any("trainer.epochs=6" in override for override in environment["overrides"])
    assert 'use = "a2a-vision:patch"' in run.recipe.read_text()


def test_the_filled_recipe_runs_again_to_the_same_weights(trained: Any, tmp_path: Path) -> None:
    run = Run(trained.folder / "runs" / "mine")
    again = tmp_path / "again"
    trained.run("train", str(run.recipe), "--out", str(again))
    assert (again / "model" / "model.safetensors").read_bytes() == (run.model / "model.safetensors").read_bytes()


def test_json_is_what_people_see(place: Any) -> None:
    result = place.run("train", "recipe.toml", "--out", "run", "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events[:2]] == ["start", "log"]
    assert {"log", "evaluated", "end"} <= {event["event"] for event in events}
    assert events[-1]["status"] == "done"
    assert Path(events[-1]["artifacts"]["model"]).name == "model"
    logged = next(event for event in events if event["event"] == "log")
    assert {"step", "loss", "learning_rate", "samples_per_second", "tokens_per_second", "memory_mib"} <= logged.keys()


def test_a_dry_run_leaves_nothing(place: Any) -> None:
    before = sorted(path.name for path in place.folder.iterdir())
    result = place.run("train", "recipe.toml", "--dry-run", "--json")
    found = json.loads(result.stdout)
    assert found["rows"] == {"train": 24, "validation": 10}
    assert found["parameters"] == found["trainable_parameters"] > 0
    assert sorted(path.name for path in place.folder.iterdir()) == before


def test_a_modality_is_left_out_from_the_command_line(place: Any) -> None:
    for name in ("sound", "image"):
        place.run(
            "train", "recipe.toml", "--out", f"only-{name}", "--without", f"encoders.{'image' if name == 'sound' else 'sound'}"
        )
        model = A2AModel.from_pretrained(place.folder / f"only-{name}" / "model")
        assert set(model.encoders) == {name}


@pytest.mark.parametrize("fusion", ["concat", "cross-attention", "perceiver"])
def test_another_fusion_needs_nothing_else(place: Any, fusion: str) -> None:
    result = place.run("train", "recipe.toml", "--out", "run", "--set", f"fusion.use={fusion}", "--set", "trainer.max_steps=2")
    assert "accuracy" in result.output


def test_evaluation_agrees_with_training(trained: Any) -> None:
    found = json.loads(trained.run("eval", "mine", "--json").stdout)
    state = Run(trained.folder / "runs" / "mine").state
    for name, value in state["results"]["validation"].items():
        assert found["results"]["validation"][name] == pytest.approx(value, rel=1e-5)
    table = trained.run("eval", "mi", "--split", "train", "--batch-size", "3").output
    assert "accuracy" in table
    assert "train" in table
    other = json.loads(trained.run("eval", "mine", "--data", "train.jsonl", "--json").stdout)
    assert list(other["results"]) == ["train.jsonl"]
    assert "no split `tset`" in trained.run("eval", "mine", "--split", "tset", code=2).output


def test_evaluation_shows_a_few_of_its_bad_rows(trained: Any, tmp_path: Path) -> None:
    rows = [{"id": str(n), "image": f"gone{n}.png", "label": "dark"} for n in range(5)]
    rows.append({"id": "5", "image": str(trained.folder / "train0.png"), "label": "dark"})
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "more.jsonl"
    said = trained.run("eval", "mine", "--data", str(path)).stderr
    assert said.count("is left out: field `image`") == 3
    assert said.endswith(f"note: and 2 more like this\nnote: in all 5 rows of `{path}`\n")


def test_predictions_keep_unknown_fields(trained: Any, tmp_path: Path) -> None:
    rows = [{**row, "note": {"kept": [1, None]}, "label": None} for row in trained.rows("validation")]
    rows.insert(2, {"id": "bad", "image": "nowhere.png"})
    trained.write(rows, "asked")
    out = tmp_path / "answers.jsonl"
    result = trained.run("predict", "mine", "asked.jsonl", "-o", str(out), "--batch-size", "4")
    assert "1 row could not be read" in result.output
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert [answer["id"] for answer in answers] == [row["id"] for row in rows]
    assert "nowhere.png" in answers[2]["error"]
    del answers[2], rows[2]
    for row, answer in zip(rows, answers, strict=True):
        assert {key: value for key, value in answer.items() if key != "predictions"} == row
    wanted = [row["label"] for row in trained.rows("validation")]
    right = sum(answer["predictions"]["shape"] == label for answer, label in zip(answers, wanted, strict=True))
    state = Run(trained.folder / "runs" / "mine").state
    assert right / len(wanted) == pytest.approx(state["results"]["validation"]["accuracy"])


def test_predictions_read_standard_input(trained: Any) -> None:
    result = trained.run("predict", "mine", stdin='{"image": "validation0.png", "x": 1}\n')
    assert json.loads(result.stdout)["predictions"]["shape"] in ("dark", "light")
    taken = trained.run("predict", "mine", stdin='{"image": "validation0.png", "predictions": 1}\n', code=2)
    assert "has a field `predictions` already" in taken.output


def test_the_export_needs_no_file_that_the_recipe_named(trained: Any, tmp_path: Path) -> None:
    import shutil

    moved = tmp_path / "model"
    shutil.copytree(trained.folder / "runs" / "mine" / "model", moved)
    model = A2AModel.from_pretrained(moved)
    assert model.parts.heads["shape"].classes == ("dark", "light")
    assert math.isfinite(sum(parameter.sum().item() for parameter in model.parameters()))


def test_two_ranks_train_as_one_does(place: Any) -> None:
    """With an uneven tail (24 + 1 rows, 8 a step) and missing modalities; SGD shows each gradient as it is."""
    rows = place.rows()
    place.write([*rows, {**rows[1], "id": "one more"}])
    sgd = ("--set", 'trainer.optimizer="sgd"', "--set", "trainer.max_grad_norm=0.0")
    place.run("train", "recipe.toml", "--out", "one", *sgd)
    process = place.shell(
        "train",
        "recipe.toml",
        "--out",
        "two",
        *sgd,
        "--set",
        "backend.use=ddp",
        "--set",
        "backend.processes=2",
        "--set",
        "backend.device=cpu",
    )
    out, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "accuracy" in out
    one, two = (A2AModel.from_pretrained(place.folder / name / "model").state_dict() for name in ("one", "two"))
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=1e-5), name
    history = [
        [json.loads(line) for line in (place.folder / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    for mine, other in zip(*history, strict=True):
        assert mine["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert mine.get("accuracy") == other.get("accuracy")


def test_a_mistake_on_every_rank_is_said_once(place: Any) -> None:
    (place.folder / "train4.png").write_bytes(b"nothing")
    process = place.shell(
        "train",
        "recipe.toml",
        "--out",
        "two",
        "--set",
        "backend.use=ddp",
        "--set",
        "backend.processes=2",
        "--set",
        "backend.device=cpu",
    )
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2
    assert said.count("1 of 24 rows of `train` are bad") == 1
    assert "Traceback" not in said
    assert Run(place.folder / "two").status == "failed"


def test_ranks_that_torchrun_started_agree_on_one_run(place: Any) -> None:
    import os
    import subprocess
    import sys

    ddp = ("--set", "backend.use=ddp", "--set", "backend.processes=2", "--set", "backend.device=cpu")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "a2a_cli", "train"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(*words: str) -> None:
        done = subprocess.run(
            [*command, *words], cwd=place.folder, env=env, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr

    start("recipe.toml", "--set", "trainer.epochs=1", *ddp)
    (folder,) = (place.folder / "runs").iterdir()
    run = Run(folder)
    assert run.status == "done"
    run.update(status="running")
    (folder / "model").rename(place.folder / "before")
    start("--resume")
    assert [path.name for path in (place.folder / "runs").iterdir()] == [folder.name]
    assert run.status == "done"
    assert (run.model / "model.safetensors").read_bytes() == (place.folder / "before" / "model.safetensors").read_bytes()


def test_activations_computed_again_give_the_same_weights(place: Any) -> None:
    for name in ("train", "validation"):
        place.write([{**row, "text": f"it is {row['label']} {n}"} for n, row in enumerate(place.rows(name))], name)
    small = 'model_type = "bert", hidden_size = 8, intermediate_size = 8, num_hidden_layers = 2, num_attention_heads = 2, vocab_size = 300'
    recipe = place.recipe.read_text()
    place.recipe.write_text(recipe + f'\n[encoders.text]\nuse = "hf-text"\nconfig = {{ {small} }}\n')
    for name, again in (("kept", "false"), ("again", "true")):
        place.run("train", "recipe.toml", "--out", name, "--set", f"trainer.gradient_checkpointing={again}")
    kept, again = (place.folder / name / "model" / "model.safetensors" for name in ("kept", "again"))
    assert kept.read_bytes() == again.read_bytes()
