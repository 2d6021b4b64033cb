import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_chat import FORMATS, canonical
from a2a_chat.formats import LOOKED_FOR, detected, named

TEXT = [{"type": "text", "text": "What?"}]
IMAGE = {"type": "image"}
ANSWER = {"role": "assistant", "content": [{"type": "text", "text": "That."}]}
ASKED = {"messages": [{"role": "user", "content": TEXT}, ANSWER]}
SEEN = {"messages": [{"role": "user", "content": [IMAGE, *TEXT]}, ANSWER], "image": ["a.png"]}


@pytest.mark.parametrize(
    ("name", "fields", "wanted"),
    [
        (
            "llava",
            {
                "image": "a.png",
                "conversations": [{"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": "That."}],
            },
            SEEN,
        ),
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "That."}]},
            ASKED,
        ),
        (
            "openai",
            {
                "images": ["a.png"],
                "messages": [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "That."}],
            },
            SEEN,
        ),
        ("alpaca", {"instruction": "What?", "input": "", "output": "That."}, ASKED),
        ("text", {"text": "What?"}, {"text": "What?"}),
    ],
)
def test_each_format_is_detected_and_read(name, fields, wanted):
    assert detected(fields) == name
    whole = {"id": "7", "note": [1], **fields}
    assert canonical(whole) == canonical(whole, name) == {"id": "7", "note": [1], **wanted}
    assert canonical(canonical(whole)) == canonical(whole)
    assert canonical(canonical(whole), name) == canonical(whole)


def test_every_format_says_what_it_looks_for():
    assert tuple(LOOKED_FOR) == FORMATS


def test_parts_of_openai_and_hugging_face():
    data = base64.b64encode(b"\x89PNG").decode()
    parts = [
        {"type": "text", "text": "A literal <image>."},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "file:///pictures/a%20b.png"}},
        {"type": "image", "path": "c.png"},
        {"type": "image", "image": "d.png", "text": None},
        {"type": "image", "url": "e.png"},
        {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}},
        {"type": "video", "video": b"\x00"},
    ]
    found = canonical({"messages": [{"role": "user", "content": parts}]})
    assert found["image"] == [b"\x89PNG", "/pictures/a b.png", "c.png", "d.png", "e.png"]
    assert (found["audio"], found["video"]) == ([b"RIFF"], [b"\x00"])
    assert [each["type"] for each in found["messages"][0]["content"]] == ["text", *["image"] * 5, "audio", "video"]
    assert found["messages"][0]["content"][0]["text"] == "A literal <image>."
    assert canonical(found) == found


def test_bare_parts_take_their_media_from_the_field():
    found = canonical(
        {"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}], "images": ["a"]}
    )
    assert found["image"] == ["a"]


def test_what_a_message_has_beside_its_content_stays():
    turn = {"role": "assistant", "content": "x", "weight": 0.5, "tag": "teacher", "name": None}
    assert canonical({"messages": [turn]})["messages"] == [
        {"role": "assistant", "content": [{"type": "text", "text": "x"}], "weight": 0.5, "tag": "teacher"}
    ]


def test_alpaca_with_input_system_and_history():
    fields = {"instruction": "Add.", "input": "1 2", "output": "3", "system": "Be short.", "history": [["Hi", "Hello"]]}
    found = canonical(fields)["messages"]
    said = [(each["role"], "".join(part["text"] for part in each["content"])) for each in found]
    assert said == [
        ("system", "Be short."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Add.\n1 2"),
        ("assistant", "3"),
    ]


def test_markers_are_the_sources_to_choose():
    html = {"text": "the <video> element"}
    found = canonical(html, markers=())
    assert found == {"text": [{"type": "text", "text": "the <video> element"}]}
    assert canonical(found) == found
    assert named(canonical(html)) == ["video"]
    cloud = canonical({"text": "<cloud> a chair", "cloud": "a.ply"}, markers=("cloud",))
    assert (named(cloud), cloud["cloud"]) == (["cloud"], ["a.ply"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "x"}, "looked for .*llava.*; there is `prompt`"),
        (
            {"messages": [{"role": "user", "content": "x"}, {"role": "nobody", "content": "x"}]},
            "message 2: nobody has the role 'nobody'",
        ),
        ({"messages": [{"role": "user", "content": 3}]}, "message 1: its content is neither"),
        ({"messages": ["x"]}, "message 1: it is no object"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "message 1: .*type `smell`; known are text, image"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "and no text"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "no object with a `type`"),
        ({"messages": [], "images": ["https://x.org/a.png"]}, "field `images`: a medium lies in the net"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/a"}}]}]},
            "in the net",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "?"}}]}]},
            "base64 is broken",
        ),
        ({"messages": [], "images": ["data:image/png,abc"]}, "another way than base64"),
        ({"messages": [], "image": "a", "images": ["b"]}, "in `image` and in `images`"),
        ({"messages": [], "image": 3}, "neither a path nor bytes but int"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "path": "a"}, {"type": "image"}]}]}, "some do not"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "path": "a"}]}], "image": ["b"]},
            "in the messages, and in a field",
        ),
        ({"conversations": [{"from": "system", "value": "x"}], "system": "y"}, "a field `system`, and a system message"),
        ({"instruction": "x", "output": "y", "history": ["z"]}, "`history` is no list of pairs"),
    ],
)
def test_a_row_that_cannot_be_read_says_why(fields, message):
    with pytest.raises(ValueError, match=message):
        canonical(fields)


@pytest.mark.parametrize("name", FORMATS)
def test_a_row_of_another_format_is_refused(name):
    with pytest.raises(ValueError, match="there is `x`"):
        canonical({"x": 1}, name)


texts = st.text(st.characters(codec="utf-8"), max_size=8)
said = st.lists(
    texts.filter(bool).map(lambda text: {"type": "text", "text": text}) | st.sampled_from([IMAGE, {"type": "audio"}]),
    max_size=4,
)
spoken = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), said), max_size=4)


@given(spoken=spoken)
def test_the_one_form_stays_as_it_is(spoken):
    messages = [{"role": role, "content": content} for role, content in spoken]
    fields = {"messages": messages, "image": ["a"], "other": 1}
    assert canonical(fields) == canonical(canonical(fields)) == fields


@given(spoken=spoken)
def test_strings_with_markers_come_back(spoken):
    def written(content):
        return "".join(each["text"] if each["type"] == "text" else f"<{each['type']}>" for each in content)

    turns = [{"from": role, "value": written(content)} for role, content in spoken]
    once = canonical({"conversations": turns})
    again = canonical({"messages": [{"role": each["role"], "content": written(each["content"])} for each in once["messages"]]})
    assert again == once
    assert [written(each["content"]) for each in once["messages"]] == [each["value"] for each in turns]
