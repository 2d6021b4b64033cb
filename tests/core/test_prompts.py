from typing import Any

import pytest

from a2a_core.prompts import asking, from_row, media_fields
from a2a_core.recipe import Parts
from a2a_core.testing.reference import ReferenceEncoder, ReferenceFusion


class Sees(ReferenceEncoder):
    """Reads pictures."""

    modality = "image"


class Hears(ReferenceEncoder):
    """Reads sounds."""

    modality = "audio"


@pytest.fixture
def parts() -> Parts:
    """Two encoders of images, one of sound."""
    encoders = {"image": Sees(), "detail": Sees(field="close"), "sound": Hears()}
    return Parts(encoders=encoders, fusion=ReferenceFusion())


def said(*content: str) -> list[dict[str, str]]:
    """`<image>` as a part, and all else as texts."""
    return [{"type": each[1:-1]} if each.startswith("<") else {"type": "text", "text": each} for each in content]


def user(*content: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": said(*content)}]


def test_media_stand_before_the_prompt_in_their_order(parts: Parts) -> None:
    found = asking(parts, "What?", [("image", "a.png"), ("audio", "b.wav"), ("image", "c.png")])
    assert found["messages"] == user("<image>", "<audio>", "<image>", "What?")
    assert found["image"] == found["close"] == ["a.png", "c.png"]
    assert found["sound"] == ["b.wav"]
    assert media_fields(parts) == {"image": ["image", "close"], "audio": ["sound"]}


def test_media_stand_at_their_marks(parts: Parts) -> None:
    media = [("image", "a.png"), ("audio", "b.wav"), ("image", "c.png")]
    found = asking(parts, "This <image> or this <image>?", media, system="Be kind.")
    assert found["messages"] == [
        {"role": "system", "content": said("Be kind.")},
        *user("<audio>", "This ", "<image>", " or this ", "<image>", "?"),
    ]


def test_plain_text_is_gone_on_with(parts: Parts) -> None:
    assert asking(parts, "To be", raw=True) == {"text": "To be"}
    assert asking(parts, "See", [("image", "a.png")], raw=True)["text"] == said("<image>", "See")
    assert asking(parts, "A <video> tag, and <b>.")["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "A <video> tag, and <b>."}]}
    ], "what nothing reads is no mark"


@pytest.mark.parametrize(
    ("prompt", "media", "says"),
    [
        ("<image>", [], "1 `<image>`, and 0 of image are given"),
        ("<image>", [("image", "a")] * 2, "1 `<image>`, and 2 of image are given"),
        ("What?", [("video", "a")], "reads no video; it reads text, image, audio"),
    ],
)
def test_other_media_than_the_prompt_names(parts: Parts, prompt: str, media: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        asking(parts, prompt, media)


def test_rows_ask_too(parts: Parts) -> None:
    row = {"id": "7", "prompt": "What?", "image": "a.png", "sound": ["b.wav", "c.wav"], "system": "Be brief."}
    found = from_row(parts, row, system="Be kind.")
    assert found["messages"][0]["content"] == said("Be brief.")
    assert found["messages"][1:] == user("<image>", "<audio>", "<audio>", "What?")
    assert found["close"] == ["a.png"]
    assert found["id"] == "7"
    conversation = {"messages": user("What?")}
    assert from_row(parts, conversation, raw=True) == conversation
