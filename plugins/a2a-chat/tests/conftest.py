"""A small byte-level BPE, the text processor of a fusion that does not exist, and a collator over both."""

import json
from pathlib import Path

import datasets
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from a2a_chat.collator import ChatCollator
from a2a_core.structures import Item, Row, Sample, TextTarget

ENDS = ("<|endoftext|>", "<s>", "</s>")
TURNS = ("<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
SPECIAL = [*ENDS, *TURNS, "<start_of_turn>", "<end_of_turn>", "<|ph_image|>", "<|ph_audio|>", "<|ph_video|>"]
WORDS = "a question of an answer: who is this, what are they doing? They are here and there, in the city. assistant user\n"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache of its own for every test."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def made(**special):
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        [WORDS] * 3, trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False)
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{"eos_token": "</s>", "bos_token": "<s>", **special})


def made_of_sentences():
    """Words that carry the space before them, and bytes for what is in no word, as Llama 2's tokenizer has it."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    bytes_ = [f"<0x{each:02X}>" for each in range(256)]
    special = ["<unk>", *SPECIAL, *bytes_]
    backend.train_from_iterator([WORDS] * 3, trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False))
    found = json.loads(backend.to_str())
    found["added_tokens"] = [each for each in found["added_tokens"] if each["content"] not in bytes_]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(found)), eos_token="</s>", bos_token="<s>", unk_token="<unk>"
    )


class Words:
    """Media are three tokens longer than what encoders make of them where `framed`: one before, two after."""

    def __init__(self, tokenizer, max_length=None, framed=False, parts=False):
        self.tokenizer, self.max_length, self.framed, self.parts = tokenizer, max_length, framed, parts

    def placeholder(self, modality):
        if modality not in ("image", "audio", "video"):
            raise ValueError(f"nothing reads {modality}")
        return f"<|ph_{modality}|>"

    def expanded(self, modality, item, length):
        around = 3 if self.framed else 0
        ids = [5] * bool(around) + [7] * length + [5] * (around - 1 if around else 0)
        return ids, [each == 7 for each in ids]


class Media:
    """Numbers, of which an item has as many as its encoder makes tokens."""

    deterministic = True

    def __call__(self, raw):
        return Item({"numbers": torch.ones(raw)}, raw)

    def pad(self, items):
        return {"numbers": torch.zeros(len(items), max(each.length for each in items))}

    def dummy(self):
        return self(1)


class Chats:
    """Call it with options of the collator and of the fusion: what build() gives, with `sample` to make samples by."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __call__(
        self, modalities=None, lengths=None, targets=None, fusion=None, framed=False, parts=False, tokenizer=None, **options
    ):
        text = Words(tokenizer or self.tokenizer, fusion, framed, parts)
        modalities = {"image": "image"} if modalities is None else modalities
        collator = ChatCollator(**{"template": "chatml", **options})
        targets = {"lm": TextTarget()} if targets is None else targets
        collate = collator.build(dict.fromkeys(modalities, Media()), targets, lengths or {}, text, modalities)
        return Made(collate)


class Made:
    def __init__(self, collate):
        self.collate = collate

    def __call__(self, samples):
        return self.collate(samples)

    def read(self, fields, **items):
        return self.collate.read(row(fields), {key: [Media()(each) for each in each_key] for key, each_key in items.items()})

    def sample(self, fields, **items):
        made = {key: [Media()(each) for each in each_key] for key, each_key in items.items()}
        return Sample(row(fields), made, {}, self.collate.read(row(fields), made))


def row(fields):
    return Row(fields, str(fields.get("id", "0")), Path("/"), "train.jsonl:1")


@pytest.fixture(scope="session")
def tokenizer():
    return made()


@pytest.fixture(scope="session")
def sentences():
    return made_of_sentences()


@pytest.fixture(scope="session")
def new_tokenizer():
    return made


@pytest.fixture(scope="session")
def chats(tokenizer):
    return Chats(tokenizer)


@pytest.fixture(scope="session")
def talk():
    """Texts in turns, the user's first, as messages."""

    def talk(*texts, system=""):
        roles = ["user", "assistant"] * len(texts)
        messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
        messages = [{"role": "system", "content": system}] * bool(system) + messages
        return {"messages": messages}

    return talk
