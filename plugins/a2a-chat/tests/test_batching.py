import pickle
import re

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from a2a_chat.collator import ChatCollator
from a2a_chat.template import SHIPPED
from a2a_core.data import BLANK, Collate
from a2a_core.errors import A2AError
from a2a_core.structures import TextTarget
from a2a_core.testing.reference import ReferenceTarget


def seen(question, answer, **media):
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **{name: ["a"] * number for name, number in media.items()}}


@pytest.fixture
def samples(chats):
    collate = chats()
    return [
        collate.sample(seen("Who?", "They are here"), image=[]),
        collate.sample(seen("<image> What <image>", "A city.", image=2), image=[3, 2]),
        collate.sample({"text": "in the city"}, image=[]),
        collate.sample(seen("<image>", "An answer", image=1), image=[1]),
    ]


def test_texts_lie_one_behind_the_other(chats, samples):
    batch = chats()(samples)
    text = batch["inputs"]["text"]
    texts = [each.text for each in samples]
    assert text["lengths"] == [each.length for each in texts]
    assert batch["tokens"] == len(text["ids"]) == sum(text["lengths"])
    assert text["ids"].tolist() == [token for each in texts for token in each.ids.tolist()]
    assert text["positions"].tolist() == [place for each in texts for place in range(each.length)]
    assert text["ids"][text["media"]["image"]].tolist() == [7] * 6
    media = batch["inputs"]["image"]
    assert (media["row"].tolist(), media["slot"].tolist(), media["slots"]) == ([1, 1, 3], [0, 1, 0], 2)
    assert set(text) == {"ids", "positions", "lengths", "media"}


def test_targets_are_the_next_tokens_of_the_same_row(chats, samples):
    batch = chats()(samples)
    text, target = batch["inputs"]["text"], batch["targets"]["lm"]
    assert torch.equal(text["ids"][target["index"] + 1], target["labels"])
    weights = torch.cat([each.text.weights for each in samples])
    assert torch.equal(weights[target["index"] + 1], target["weights"])
    firsts = torch.tensor([0, *text["lengths"][:-1]]).cumsum(0)
    assert len(target["index"]) == int((weights > 0).sum()) - 1, "the first token of the plain text has none before it"
    rows = torch.bucketize(target["index"], firsts, right=True) - 1
    assert torch.equal(rows, target["row"])
    assert {name: value.dtype for name, value in target.items()} == {
        name: value.dtype for name, value in TextTarget().pad([]).items()
    }


def test_an_absent_modality_is_a_dummy(chats, samples):
    batch = chats()(samples[:1])
    assert batch["inputs"]["image"]["tensors"]["numbers"].shape[0] == 1
    assert batch["inputs"]["image"]["row"].tolist() == batch["inputs"]["text"]["media"]["image"].tolist() == []
    assert batch["inputs"]["text"]["media"]["image"].dtype == torch.int64


def test_a_batch_of_bad_rows_alone_is_a_token_of_which_nothing_counts(chats, tokenizer):
    batch = Collate(chats().collate)([])
    assert batch["inputs"]["text"]["ids"].tolist() == [tokenizer.eos_token_id]
    assert (batch["inputs"]["text"]["lengths"], batch["ids"]) == ([1], [])
    assert all(not value.numel() for value in batch["targets"]["lm"].values())
    assert chats()([BLANK])["inputs"]["image"]["tensors"]["numbers"].shape[0] == 1


def test_heads_of_other_targets_pad_them(chats, samples):
    targets = {"score": ReferenceTarget("value"), "lm": TextTarget()}
    batch = chats(targets=targets)([samples[0]._replace(targets={"score": 2.0}), samples[2]])
    assert batch["targets"]["score"]["value"][0] == 2.0
    assert len(batch["targets"]["lm"]["row"].unique()) == 2


def test_a_collator_pickles(chats, samples):
    for options in ({}, {"packing": True, "max_length": 64}, {"tokens": 64}):
        collate = chats(**options).collate
        copy = pickle.loads(pickle.dumps(collate))
        assert copy(samples)["inputs"]["text"]["lengths"] == collate(samples)["inputs"]["text"]["lengths"]
        assert torch.equal(copy.read(samples[1].row, samples[1].items).ids, samples[1].text.ids)
        assert (copy.group is None) == (not options)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ends_an_answer_ends_a_generated_one(chats, tokenizer, name):
    ends = {"chatml": "<|im_end|>", "qwen2": "<|im_end|>", "llama-3": "<|eot_id|>", "gemma": "<end_of_turn>"}
    collate = chats(template=name).collate
    wanted = {ends.get(name, "</s>"), "</s>"}
    assert set(tokenizer.convert_ids_to_tokens(Collate(collate).stop)) == wanted
    unmarked = re.sub("{%-? *(end)?generation *%}", "", collate.template)
    own = chats(template="own", tokenizer=with_template(tokenizer, unmarked)).collate
    assert own.stop == collate.stop
    assert own.template == unmarked


def with_template(tokenizer, template):
    copy = pickle.loads(pickle.dumps(tokenizer))
    copy.chat_template = template
    return copy


def test_a_collator_without_a_template_stops_at_the_end_of_text(chats, tokenizer):
    collate = chats(template="own").collate
    assert (collate.template, collate.stop) == (None, [tokenizer.eos_token_id])


def test_groups_are_of_the_core(chats):
    assert Collate(chats().collate).group is None
    assert Collate(chats(packing=True, max_length=10).collate).group([4, 0, 7, 11, 6]) == [[0, 4], [2]]
    assert Collate(chats(tokens=10).collate).group([4, 0, 7, 11, 6]) == [[0, 4], [2]]
    assert Collate(chats(packing=True, fusion=10).collate).group([5, 5]) == [[0, 1]]


def test_what_options_do_not_go_together(chats):
    for options, message in (
        ({"packing": True, "tokens": 8}, "both say which rows"),
        ({"template": "chatml", "template_file": "x"}, "both name a template"),
        ({"tokens": 8, "max_length": 9}, "fits in no batch"),
    ):
        with pytest.raises(ValueError, match=message):
            ChatCollator(**options)
    with pytest.raises(A2AError, match="`packing` wants `collator.max_length`"):
        chats(packing=True)
    with pytest.raises(A2AError, match="the fusion reads none"):
        ChatCollator().build({}, {}, {})


def test_a_row_longer_than_a_batch_of_tokens_is_too_long(chats):
    with pytest.raises(ValueError, match="at the most 5 are allowed"):
        chats(tokens=5).read(seen("Who?", "They are here"), image=[])


def loss(model, batch):
    """The weighted sum, each text seeing itself alone: a block of the mask each."""
    text, target = batch["inputs"]["text"], batch["targets"]["lm"]
    mask = torch.block_diag(*(torch.ones(length, length).tril() for length in text["lengths"])).bool()[None, None]
    logits = model(
        input_ids=text["ids"][None], position_ids=text["positions"][None], attention_mask=mask, use_cache=False
    ).logits[0]
    each = torch.nn.functional.cross_entropy(logits[target["index"]], target["labels"], reduction="none")
    return (each * target["weights"]).sum()


def test_packed_and_unpacked_rows_have_the_same_loss_and_gradients(chats, samples, tokenizer):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).double()
    collate = chats()
    packed = loss(model, collate(samples))
    packed.backward()
    together = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    alone = sum(loss(model, collate([each])) for each in samples)
    alone.backward()
    assert torch.allclose(packed, alone, rtol=1e-12)
    for grad, parameter in zip(together, model.parameters(), strict=True):
        assert torch.allclose(grad, parameter.grad, rtol=1e-9, atol=1e-12)
