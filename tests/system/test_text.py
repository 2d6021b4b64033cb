"""A run that says how a picture is: `a2a generate`, `a2a predict` of conversations, `a2a export`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

RECIPE = """
[data.train]
use = "chat"
path = "talk.jsonl"
[encoders.image]
use = "hf-vision"
layer = -2
freeze = true
[encoders.image.config]
model_type = "clip_vision_model"
image_size = 8
patch_size = 4
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 2
num_attention_heads = 2
[projectors.image]
use = "mlp"
[fusion]
use = "causal-lm"
[fusion.config]
model_type = "llama"
vocab_size = 259
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
max_position_embeddings = 128
[heads.lm]
use = "lm"
[losses.lm]
use = "next-token"
head = "lm"
[collator]
use = "chat"
template = "plain"
[[adapters]]
use = "lora"
part = "fusion"
r = 8
[trainer]
max_steps = 60
batch_size = 16
learning_rate = 0.01
report_to = []
[backend]
device = "cpu"
"""
QUESTION = "How is it?"


@pytest.fixture(scope="session")
def talk(workplace: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with a finished run, `runs/mine`; tests only read it."""
    folder = tmp_path_factory.mktemp("talk")
    generator, rows = np.random.default_rng(0), []
    for index in range(16):
        level, word = ((60, "dark"), (190, "light"))[index % 2]
        pixels = generator.integers(level - 40, level + 40, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).convert("RGB").save(folder / f"{index}.png")
        turns = [{"from": "human", "value": f"<image>\n{QUESTION}"}, {"from": "gpt", "value": word}]
        rows.append({"id": str(index), "conversations": turns, "image": f"{index}.png"})
    place = workplace(folder)
    place.write(rows, "talk")
    (folder / "talk.toml").write_text(RECIPE)
    place.run("train", "talk.toml", "--out", "runs/mine")
    return place


def test_a_prompt_is_answered_with_its_picture(talk: Any) -> None:
    for index, word in enumerate(("dark", "light")):
        result = talk.run("generate", "mine", f"\n{QUESTION}", "--image", f"{index}.png")
        assert result.stdout == f"{word}\n"
        marked = talk.run("generate", "mine", f"<image>\n{QUESTION}", "--image", f"{index}.png", "--num-beams", "3")
        assert marked.stdout == f"{word}\n"
    asked = talk.run("generate", "mine", "--image", "1.png", "--json", stdin=f"<image>\n{QUESTION}\n")
    found = json.loads(asked.stdout)
    assert found["answer"] == "light"
    assert found["prompt"] == f"<image>\n{QUESTION}"
    talk.run("generate", "mine", f"\n{QUESTION}", "--image", "0.png", "-o", "said.txt")
    assert (talk.folder / "said.txt").read_text() == "dark\n"


def test_tokens_are_shown_as_they_come(talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import TextStreamer

    pieces: list[str] = []
    monkeypatch.setattr(TextStreamer, "on_finalized_text", lambda self, text, stream_end=False: pieces.append(text))
    talk.run("generate", "mine", "to be or not", "--raw", "--stream", "--max-new-tokens", "12")
    streamed = "".join(pieces)
    assert len(pieces) > 1
    monkeypatch.undo()
    whole = talk.run("generate", "mine", "to be or not", "--raw", "--max-new-tokens", "12").stdout
    assert streamed == whole.removesuffix("\n")
    shown = talk.run("generate", "mine", "to be or not", "--raw", "--stream", "--max-new-tokens", "12").stdout
    assert shown == whole


def test_chance_is_asked_for_and_comes_again_with_its_seed(talk: Any) -> None:
    ask = ("generate", "mine", "to be", "--raw", "--max-new-tokens", "24")
    hot = [talk.run(*ask, "--temperature", "3", "--seed", str(seed)).stdout for seed in (1, 1, 2)]
    assert hot[0] == hot[1] != hot[2]
    greedy = talk.run(*ask).stdout
    assert talk.run(*ask, "--top-k", "1").stdout == greedy
    assert talk.run(*ask, "--temperature", "0").stdout == greedy
    assert hot[0] != greedy


def test_rows_of_conversations_and_of_prompts(talk: Any) -> None:
    rows: list[dict[str, Any]] = [*talk.rows("talk")[:2]]
    rows += [{"prompt": f"\n{QUESTION}", "image": "3.png"}, {"prompt": f"<image>\n{QUESTION}", "note": [1]}]
    rows += [{"messages": [{"role": "user", "content": f"<image>\n{QUESTION}"}], "images": ["2.png"]}]
    talk.write(rows, "asked")
    result = talk.run(
        "generate", "mine", "--rows", "asked.jsonl", "-o", "answers.jsonl", "--field", "said", "--batch-size", "2"
    )
    assert result.stderr.endswith('1 row could not be read: see "error" there\n')
    found = [json.loads(line) for line in (talk.folder / "answers.jsonl").read_text().splitlines()]
    assert [each.get("said") for each in found] == ["dark", "light", "light", None, "dark"]
    assert "1 `<image>`, and 0 of image are given" in found[3]["error"]
    assert all(each.items() >= row.items() for each, row in zip(found, rows, strict=True))
    predicted = talk.run("predict", "mine", "asked.jsonl").stdout
    answers = [json.loads(line).get("predictions") for line in predicted.splitlines()]
    assert answers == [{"lm": "dark"}, {"lm": "light"}, None, None, {"lm": "dark"}]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("hello", "--image", "gone.png"), "there is no file gone.png"),
        (("hello", "--audio", "talk.toml"), "the model reads no audio; it reads text, image"),
        (("<image> <image>", "--image", "0.png"), "the prompt has 2 `<image>`, and 1 of image are given"),
        (("hello", "--image", "talk.toml"), "the prompt cannot be read: field `image`"),
        (("hello", "--raw", "--system", "Be kind."), "leave out `--raw` or `--system`"),
        (("hello", "--rows", "talk.jsonl"), "give either `--rows` or a prompt"),
        (("hello", "--stream", "--num-beams", "2"), "not with beams"),
        (("--rows", "talk.jsonl", "--json"), "rows come out as lines of JSON"),
        (("hello", "--temperature", "0", "--top-p", "0.5"), "`top-p` says how to choose"),
    ],
)
def test_mistakes_are_said(talk: Any, words: tuple[str, ...], says: str) -> None:
    assert says in " ".join(talk.run("generate", "mine", *words, code=2).output.split())


def test_a_model_without_words_says_so(trained: Any) -> None:
    said = trained.run("generate", "mine", "hello", code=2).output
    assert "run mine writes no text: its fusion `bottleneck` owns no vocabulary" in said
    assert "no format for others holds all of this model" in trained.run("export", "mine", "-o", "out", code=2).output


def test_formats_are_listed_and_the_most_complete_is_written(talk: Any, tmp_path: Path) -> None:
    offered = {each["name"]: each for each in json.loads(talk.run("export", "mine", "--list", "--json").stdout)}
    assert list(offered) == ["transformers", "llava", "adapter", "merged"]
    assert "has encoders (image)" in offered["transformers"]["misfit"]
    assert offered["adapter"]["beside"] == ["projectors.image"]
    assert "without projectors.image" in talk.run("export", "mine", "--list").stdout
    out = tmp_path / "out"
    said = json.loads(talk.run("export", "mine", "-o", str(out), "--json").stdout)
    assert said["format"] == "llava"
    assert said["difference"] < 1e-5
    assert "exists already" in talk.run("export", "mine", "-o", str(out), code=2).output
    assert "no folder is named" in talk.run("export", "mine", code=2).output
    said = talk.run("export", "mine", "-o", str(tmp_path / "adapter"), "--format", "adapter").stdout
    assert "projectors.image was trained, and is not in it" in said
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


def test_plain_transformers_answers_as_we_do(talk: Any, tmp_path: Path) -> None:
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    talk.run("export", "mine", "-o", str(tmp_path / "out"))
    model: Any = LlavaForConditionalGeneration.from_pretrained(tmp_path / "out")
    processor: Any = AutoProcessor.from_pretrained(tmp_path / "out")  # type: ignore[no-untyped-call]
    for index, word in enumerate(("dark", "light")):
        content = [{"type": "image"}, {"type": "text", "text": f"\n{QUESTION}"}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        given = processor(images=[Image.open(talk.folder / f"{index}.png")], text=text, return_tensors="pt")
        ids = model.generate(**given, max_new_tokens=8, do_sample=False)[0, given["input_ids"].shape[1] :]
        assert processor.decode(ids, skip_special_tokens=True) == word
