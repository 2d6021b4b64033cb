import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_core.errors import A2AError

BOTH = {"image": "image", "sound": "audio"}


def asked(content, answer="They are here", **media):
    return {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": answer}], **media}


def test_a_placeholder_becomes_its_mediums_tokens(chats, tokenizer):
    plain = chats({}).read(asked("Who  here?"))
    text = chats().read(asked("Who <image> here?", image=["a"]), image=[5])
    places = text.media["image"].tolist()
    start = places[0]
    assert places == list(range(start, start + 5))
    assert text.ids[start : start + 5].tolist() == [7] * 5
    assert tokenizer.decode(text.ids[:start]).endswith("Who ")
    assert tokenizer.decode(text.ids[start + 5 :]).startswith(" here?")
    assert not text.weights[places].any()
    assert float(text.weights.sum()) == float(plain.weights.sum())


def test_projectors_change_lengths_and_fusions_frame(chats):
    text = chats(lengths={"image": lambda tokens: tokens // 2}, framed=True).read(asked("<image>?", image=["a"]), image=[8])
    places = text.media["image"].tolist()
    assert len(places) == 4
    assert text.ids[places[0] - 1 : places[-1] + 3].tolist() == [5, 7, 7, 7, 7, 5, 5]


def test_several_media_of_several_modalities_keep_their_order(chats):
    fields = asked("<image><audio>What? <image>", image=["a", "b"], audio=["c"])
    text = chats(BOTH).read(fields, image=[2, 3], sound=[1])
    (a, b, c, d, e), (f,) = text.media["image"].tolist(), text.media["sound"].tolist()
    assert (b, f, d, e) == (a + 1, a + 2, c + 1, c + 2)
    assert c > f


def test_encoders_of_one_modality_stand_side_by_side(chats):
    text = chats({"wide": "image", "fine": "image"}).read(asked("<image>", image=["a"]), wide=[2], fine=[1])
    fine, wide = text.media["fine"].tolist(), text.media["wide"].tolist()
    assert [*fine, *wide] == list(range(fine[0], fine[0] + 3))


def test_media_in_an_answer_are_not_supervised(chats):
    text = chats(framed=True).read(asked("Draw.", answer="Here: <image>", image=["a"]), image=[3])
    places = text.media["image"].tolist()
    assert not text.weights[places].any()
    assert bool((text.weights[places[-1] + 1 :][:3] == 1).all()), "what frames it is"


@pytest.mark.parametrize(
    ("content", "items", "message"),
    [
        ("<image><image>", [1], "2 `<image>` in its text, 1 for encoder `image`"),
        ("What?", [1], "0 `<image>` in its text, 1 for encoder `image`"),
        ("<image>", [], "1 `<image>` in its text, 0 for encoder `image`"),
        ("<image><audio>", [1], "1 `<audio>` in its text, and no encoder reads audio"),
    ],
)
def test_other_media_than_places_are_refused(chats, content, items, message):
    with pytest.raises(ValueError, match="media and their places differ") as caught:
        chats().read(asked(content, image=["a"] * len(items)), image=items)
    assert message in str(caught.value)


def test_media_that_no_encoder_reads_are_refused(chats):
    with pytest.raises(ValueError, match="0 `<video>` in its text, 1 in field `video`"):
        chats().read(asked("<image>", image=["a"], videos=["b"]), image=[1])


@pytest.mark.parametrize(
    "content",
    [
        "<image> <|ph_image|>",
        "<|ph_image|>",
        [{"type": "text", "text": "<|ph_"}, {"type": "text", "text": "image|>"}, {"type": "image"}],
    ],
)
def test_a_placeholder_in_ones_own_words_is_refused(chats, content):
    number = 1 if "<image>" in content or isinstance(content, list) else 0
    with pytest.raises(ValueError, match="its text holds `<|ph_image|>`".replace("|", r"\|")):
        chats().read(asked(content, image=["a"] * number), image=[1] * number)


def test_a_literal_marker_in_a_part_is_no_place(chats):
    parts = [{"type": "image"}, {"type": "text", "text": "the <image> element"}]
    assert len(chats().read(asked(parts, image=["a"]), image=[2]).media["image"]) == 2


def test_an_encoder_that_the_fusion_takes_nothing_of(chats):
    with pytest.raises(A2AError, match="encoder `taste`: nothing reads taste"):
        chats({"taste": "taste"})


def test_a_template_of_parts(chats, new_tokenizer):
    tokenizer = new_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {% for part in m.content %}"
        "{{ '<s><|ph_image|></s>' if part.type == 'image' else part.text }}{% endfor %}{{ eos_token }}{% endfor %}"
    )
    text = chats(tokenizer=tokenizer, template="own", parts=True).read(asked("Who? <image>", image=["a"]), image=[2])
    start = text.media["image"].tolist()[0]
    assert text.ids[start - 1 : start + 3].tolist() == [tokenizer.bos_token_id, 7, 7, tokenizer.eos_token_id]
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}{{ eos_token }}{% endfor %}"
    with pytest.raises(ValueError, match="writes 0 placeholders for 1 media"):
        chats(tokenizer=tokenizer, template="own", parts=True).read(asked("Who? <image>", image=["a"]), image=[2])


lengths = st.lists(st.integers(1, 4), max_size=4)


@given(images=lengths, sounds=lengths, framed=st.booleans(), order=st.randoms())
def test_every_place_is_a_mediums(chats, images, sounds, framed, order):
    marks = ["<image>"] * len(images) + ["<audio>"] * len(sounds)
    order.shuffle(marks)
    fields = asked("Who? " + "and".join(marks), image=["a"] * len(images), audio=["b"] * len(sounds))
    text = chats(BOTH, framed=framed).read(fields, image=images, sound=sounds)
    bare = chats(BOTH).read(asked("Who? " + "and".join("" for _ in marks)), image=[], sound=[])
    assert len(text.media["image"]) == sum(images)
    assert len(text.media["sound"]) == sum(sounds)
    places = [*text.media["image"].tolist(), *text.media["sound"].tolist()]
    assert sorted(set(places)) == sorted(places)
    assert set(text.ids[places].tolist()) <= {7}
    assert text.spans[-1].end == text.length
    assert float(text.weights.sum()) == float(bare.weights.sum())
