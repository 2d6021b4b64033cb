from __future__ import annotations

import pytest
import torch

from a2a_core import A2AError, RunFailed
from a2a_llm.causal_lm import CausalLm
from a2a_llm.causal_lm_model import CausalLmModel
from a2a_llm.documents import Documents
from a2a_llm.unembedding import Unembedding

ROWS = [[5, 9, 3, 7, 11], [2, 4], [8], [1, 6, 2, 9]]
ALIKE = [[5, 9, 3], [2, 4, 8], [7, 7, 1]]
APART = {
    "llama": {},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "mistral": {"num_key_value_heads": 2, "sliding_window": 3},
    "phi3": {"pad_token_id": 0},
    "olmo2": {},
    "granite": {"logits_scaling": 3.0},
    "cohere": {"logit_scale": 0.25},
    "gemma": {"head_dim": 8, "num_key_value_heads": 1},
    "gemma3_text": {"head_dim": 8, "sliding_window": 3},
    "gpt_neox": {},
    "smollm3": {"num_key_value_heads": 2, "pad_token_id": 0, "no_rope_layer_interval": 2},
    "qwen3_moe": {
        "num_key_value_heads": 2,
        "head_dim": 8,
        "moe_intermediate_size": 16,
        "num_experts": 4,
        "num_experts_per_tok": 2,
    },
    "mixtral": {"num_key_value_heads": 2, "num_local_experts": 4},
    "starcoder2": {"num_key_value_heads": 2},
}
"""Models whose attention is told where texts end, and what makes each of them special."""
PADDED = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": 0, "eos_token_id": 0},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {"n_layer": 2, "n_head": 4},
    "gemma2": {"head_dim": 8, "final_logit_softcapping": 5.0, "attn_logit_softcapping": None},
    "mamba": {"state_size": 4},
}
"""Others: either layout may be chosen, both must be right."""


def logits_of(module, inputs):
    fused = module({}, inputs)
    return fused.unembed(fused.hidden)


@pytest.mark.parametrize("model_type", [*APART, *PADDED])
@pytest.mark.parametrize("rows", [ROWS, ALIKE], ids=["uneven", "even"])
def test_each_text_comes_out_as_if_it_were_alone(model_type, rows, language_config, texts):
    config = language_config(model_type, **APART.get(model_type, PADDED.get(model_type, {})))
    module = CausalLmModel(config).eval()
    if model_type in APART:
        assert module.documents
    got = logits_of(module, texts(*rows))
    module.model.set_attn_implementation("eager")
    wanted = torch.cat([module.model(torch.tensor([row]), use_cache=False).logits[0] for row in rows])
    torch.testing.assert_close(got, wanted, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("model_type", ["llama", "qwen3", "gpt_neox"])
def test_gradients_are_those_of_each_text_alone(model_type, language_config, texts):
    config = language_config(model_type, **APART[model_type])
    module = CausalLmModel(config)
    weights = torch.randn(sum(map(len, ROWS)), 97)
    (logits_of(module, texts(*ROWS)) * weights).sum().backward()
    got = {name: each.grad.clone() for name, each in module.model.named_parameters()}
    module.zero_grad()
    for row, share in zip(ROWS, weights.split([len(row) for row in ROWS]), strict=True):
        (module.model(torch.tensor([row]), use_cache=False).logits[0] * share).sum().backward()
    for name, each in module.model.named_parameters():
        torch.testing.assert_close(got[name], each.grad, atol=2e-5, rtol=1e-4, msg=name)


def test_padded_and_documents_agree_under_gradient_checkpointing(language_config, texts):
    found = []
    for layout in ("padded", "documents"):
        torch.manual_seed(3)
        module = CausalLmModel(language_config("qwen2", num_key_value_heads=2), layout).train()
        module.model.activation_checkpointing_enable()
        logits_of(module, texts(*ROWS)).square().sum().backward()
        found.append({name: each.grad for name, each in module.model.named_parameters()})
    for name, wanted in found[0].items():
        torch.testing.assert_close(found[1][name], wanted, atol=1e-4, rtol=1e-4, msg=name)


def test_pooled_is_the_last_state_of_each_text(language_config, texts):
    module = CausalLmModel(language_config("llama")).eval()
    fused = module({}, texts(*ROWS))
    assert fused.size == 4
    for row, (place, end) in enumerate(zip([4, 6, 7, 11], [5, 7, 8, 12], strict=True)):
        torch.testing.assert_close(fused.pooled[row], fused.hidden[place:end][0])


def test_a_model_that_leaks_is_refused_at_its_first_step(monkeypatch, language_config, texts):
    module = CausalLmModel(language_config("llama")).eval()
    stock = module.states
    monkeypatch.setattr(
        module, "states", lambda embedded, positions, each: stock(embedded, positions, Documents([sum(each.lengths)]))
    )
    with pytest.raises(RunFailed, match="otherwise than each alone(.|\n)*padded"):
        module({}, texts(*ROWS))


def test_what_a_model_cannot_is_said(language_config):
    with pytest.raises(A2AError, match="told where a text ends"):
        CausalLmModel(language_config("mamba", state_size=4), "documents")
    with pytest.raises(A2AError, match="no causal language model of type `vit`"):
        CausalLm(config={"model_type": "vit"}).build({})
    with pytest.raises(A2AError, match="ids up to 258.*`vocab_size` = 97"):
        CausalLm(config={"model_type": "llama", "vocab_size": 97}).resolved()
    with pytest.raises(A2AError, match="the collator gives none"):
        CausalLmModel(language_config("llama"))({}, {"size": 1})


def test_generation_is_that_of_the_stock_model(language_config, texts):
    module = CausalLmModel(language_config("llama")).eval()
    rows = [[5, 9, 3, 7], [2, 4]]
    got = module.generate({}, texts(*rows), max_new_tokens=6, do_sample=False, eos_token_id=None)
    for row, ids in zip(rows, got, strict=True):
        wanted = module.model.generate(
            torch.tensor([row]), attention_mask=torch.ones(1, len(row)), max_new_tokens=6, do_sample=False, pad_token_id=0
        )
        assert ids == wanted[0, len(row) :].tolist()


def test_weights_of_a_directory_and_its_tokenizer_travel(tmp_path):
    from a2a_llm.vocabulary import unpack

    tiny = CausalLm.tiny(tmp_path)
    first = tiny.build({})
    first.model.save_pretrained(tmp_path / "m")
    unpack("").save_pretrained(tmp_path / "m")
    config = CausalLm(path=tmp_path / "m").resolved()
    assert config.resolved() == config
    second = config.build({})
    config.load(second)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    text = config.processor()
    assert text.tokenizer("hé").input_ids == [107, 198, 172]
    assert text.tokenizer.decode([107, 198, 172]) == "hé"
    assert text.tokenizer(f"a{text.placeholder('image')}b").input_ids == [100, 259, 101]
    assert text.max_length == 128


def test_an_output_layer_of_its_own_or_shared(language_config):
    for tied in (False, True):
        module = CausalLmModel(language_config("llama", tie_word_embeddings=tied))
        assert (Unembedding(module.model).linear.weight is module.model.get_input_embeddings().weight) is tied
        assert not module.unused


@pytest.mark.parametrize("layout", ["auto", "padded"])
def test_a_model_that_does_more_to_its_logits_is_refused_at_its_first_step(language_config, texts, layout):
    module = CausalLmModel(language_config("llama"), layout).eval()
    module.model.lm_head.register_forward_hook(lambda layer, given, made: made if given[0].dim() == 2 else 2 * made)
    with pytest.raises(RunFailed, match="makes its logits otherwise than by its output layer"):
        module({}, texts(*ROWS))


def test_a_model_that_generates_from_ids_alone_does(language_config, texts):
    module = CausalLmModel(language_config("ctrl", n_embd=32, n_layer=2, n_head=4, dff=48, n_positions=64)).eval()
    rows = [[5, 9, 3, 7], [2, 4]]
    got = module.generate({}, texts(*rows), max_new_tokens=4, do_sample=False)
    wanted = module.model.generate(torch.tensor([rows[0]]), max_new_tokens=4, do_sample=False, pad_token_id=0)
    assert got[0] == wanted[0, 4:].tolist()
    with pytest.raises(A2AError, match="cannot go on from media"):
        module.generate({}, texts(*rows, media={"image": [1, 2]}), max_new_tokens=4)


@pytest.mark.filterwarnings("ignore")  # dynamo's own
def test_compiled_code_serves_texts_of_any_length(language_config, texts):
    module = CausalLmModel(language_config("llama"))
    compiled = torch.compile(module, backend="eager")
    frames = torch._dynamo.utils.counters["frames"]

    def step(number):
        rows = [list(range(1, 3 + number + 2 * place)) for place in range(2 + number % 3)]
        compiled({}, texts(*rows)).hidden.sum().backward()
        return frames["total"]

    torch._dynamo.reset()
    warm = max(step(number) for number in range(5))
    assert [step(number) for number in range(5, 17)] == [warm] * 12
    torch._dynamo.reset()
