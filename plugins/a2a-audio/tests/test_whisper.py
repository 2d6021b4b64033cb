import json

import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from a2a_audio.hf_audio import HfAudioEncoder
from a2a_core.testing import checks

LENGTHS = (3000, 1, 159, 160, 161, 200, 201, 8000, 15800, 15801, 15999, 16000)
CONFIG = {
    "model_type": "whisper",
    "d_model": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "max_source_positions": 50,
}
DECODER = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": 8, "max_target_positions": 4}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "begin_suppress_tokens": None}


@pytest.mark.parametrize("check", checks(HfAudioEncoder(config=CONFIG, pad="full")), ids=str)
def test_full(check):
    check()


@pytest.mark.parametrize("check", checks(HfAudioEncoder(config=CONFIG, pad="batch", layer=1)), ids=str)
def test_batch(check):
    check()


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """A whole Whisper of one second, and its feature extractor, in a directory."""
    torch.manual_seed(0)
    sizes = {key: value for key, value in CONFIG.items() if key != "model_type"}
    model = WhisperForConditionalGeneration(WhisperConfig(**sizes, **DECODER, **SPECIAL)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path_factory.mktemp("whisper")
    model.save_pretrained(folder)
    extractor = WhisperFeatureExtractor(chunk_length=1)
    extractor.save_pretrained(folder)
    return model.model.encoder, extractor, folder


def loaded(folder, **options):
    encoder = HfAudioEncoder(path=folder, **options).resolved()
    module = encoder.build().eval()
    encoder.load(module)
    return encoder.processor(), module


@torch.no_grad()
@pytest.mark.parametrize("layer", [None, -1, -2, 0, 1, 2])
def test_tokens_are_those_of_transformers(stock, noise, layer):
    model, extractor, folder = stock
    sounds = [noise(samples) for samples in LENGTHS]
    inputs = extractor(sounds, sampling_rate=16000, return_tensors="pt", return_attention_mask=True)
    outputs = model(inputs["input_features"], output_hidden_states=True)
    wanted = outputs.last_hidden_state if layer is None else outputs.hidden_states[layer]
    processor, module = loaded(folder, layer=layer)
    items = [processor((sound, 16000)) for sound in sounds]
    tokens = module(**processor.pad(items))
    frames = inputs["attention_mask"].sum(1)
    assert tokens.mask.sum(1).tolist() == [item.length for item in items] == ((frames + 1) // 2).tolist()
    for values, mask, reference in zip(tokens.values, tokens.mask, wanted, strict=True):
        torch.testing.assert_close(values[mask], reference[: mask.sum()], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("mels", [80, 128])
def test_features_are_those_of_transformers(noise, mels):
    sounds = [0.3 * noise(samples) for samples in LENGTHS] + [torch.zeros(9000).numpy(), 1e-4 * noise(500)]
    wanted = WhisperFeatureExtractor(mels, chunk_length=1)(sounds, sampling_rate=16000, return_tensors="pt")["input_features"]
    processor = HfAudioEncoder(config={**CONFIG, "num_mel_bins": mels}).processor()
    found = processor.pad([processor((sound, 16000)) for sound in sounds])["input_features"]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_batch_computes_no_more_than_its_longest_sound(stock, noise):
    processor, module = loaded(stock[2], pad="batch")
    batch = processor.pad([processor((noise(samples), 16000)) for samples in (1000, 4000)])
    assert batch["input_features"].shape == (2, 80, 28)
    assert module(**batch).values.shape == (2, 13, 16)


def test_what_is_resolved_can_be_written_as_toml(stock):
    for check in checks(HfAudioEncoder(path=stock[2]).resolved()):
        if check.name in ("survives_toml", "survives_a_checkpoint", "resolved_is_self_contained"):
            check()


def test_longer_sound_is_refused_or_cut(noise):
    with pytest.raises(ValueError, match=r"lasts 2\.50 s, the model hears 1 s: `max_seconds = 1` would cut it"):
        HfAudioEncoder(config=CONFIG).processor()((noise(20000), 8000))
    item = HfAudioEncoder(config=CONFIG, max_seconds=1.0).processor()((noise(20000), 8000))
    assert item.length == 50


def test_positions_are_frozen_and_the_decoder_is_left_out():
    module = HfAudioEncoder(config={**CONFIG, "encoder_layerdrop": 0.5}).build()
    assert [name for name, parameter in module.named_parameters() if not parameter.requires_grad] == [
        "model.embed_positions.weight"
    ]
    assert module.model.layerdrop == 0
    assert not any("decoder" in name for name in module.state_dict())


def test_the_numbers_of_the_directory_are_used(stock, noise, tmp_path):
    for file in stock[2].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "hop_length": 200, "n_fft": 512}))
    encoder = HfAudioEncoder(path=tmp_path).resolved()
    assert encoder.preprocess == {"sampling_rate": 16000, "n_fft": 512, "hop_length": 200, "feature_size": 80}
    assert encoder.processor()((noise(2000), 16000)).length == 5
