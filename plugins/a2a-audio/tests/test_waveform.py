import pytest
import torch
from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

from a2a_audio.hf_audio import HfAudioEncoder
from a2a_audio.waveform_model import masked_norm
from a2a_audio.waveform_processor import reach, tokens
from a2a_core import A2AError
from a2a_core.testing import checks

FAMILIES = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
CONVOLUTIONS = {"conv_dim": [8, 8, 8], "conv_kernel": [10, 8, 4], "conv_stride": [5, 8, 4], "num_feat_extract_layers": 3}
POSITIONS = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
GROUP = {**SIZES, **CONVOLUTIONS, **POSITIONS}
LAYER = {**GROUP, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
LENGTHS = (3000, 8000, 700, 5001)
# transformers' WavLM gives torch a boolean and a float mask
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")


@pytest.mark.parametrize("check", checks(HfAudioEncoder(config={"model_type": "hubert", **LAYER}, layer=1)), ids=str)
def test_layer_norm(check):
    check()


@pytest.mark.parametrize("check", checks(HfAudioEncoder(config={"model_type": "wavlm", **GROUP})), ids=str)
def test_group_norm(check):
    check()


def stock(config):
    """The model of transformers, its weights large enough to see what they do."""
    torch.manual_seed(0)
    values = dict(config)
    model = AutoModel.from_config(AutoConfig.for_model(values.pop("model_type"), **values)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.2, 0.2)
    return model


@torch.no_grad()
@pytest.mark.parametrize("layer", [None, -1, -2, 0])
@pytest.mark.parametrize("norm", [GROUP, LAYER], ids=["group", "layer"])
@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_in_a_batch_are_those_of_transformers_for_each_sound_alone(noise, family, norm, layer):
    config = {"model_type": family, **norm}
    model = stock(config)
    encoder = HfAudioEncoder(config=config, layer=layer)
    module, processor = encoder.build().eval(), encoder.processor()
    own = module.model.state_dict()
    module.model.load_state_dict({name: tensor for name, tensor in model.state_dict().items() if name in own})
    items = [processor((noise(samples), 16000)) for samples in LENGTHS]
    together = module(**processor.pad(items))
    for index, samples in enumerate(LENGTHS):
        inputs = Wav2Vec2FeatureExtractor()(noise(samples), sampling_rate=16000, return_tensors="pt")
        outputs = model(inputs["input_values"], output_hidden_states=True)
        wanted = (outputs.last_hidden_state if layer is None else outputs.hidden_states[layer])[0]
        found = together.values[index][together.mask[index]]
        assert len(found) == items[index].length
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_transformers_with_a_mask_gives_the_same_where_it_takes_one(noise):
    config = {"model_type": "wav2vec2", **LAYER}
    model = stock(config)
    module = HfAudioEncoder(config=config).build().eval()
    module.model.load_state_dict({name: model.state_dict()[name] for name in module.model.state_dict()})
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True)
    sounds = [noise(samples) for samples in LENGTHS]
    inputs = extractor(sounds, sampling_rate=16000, padding=True, return_tensors="pt")
    wanted = model(**inputs).last_hidden_state
    found = module(inputs["input_values"], inputs["attention_mask"].sum(1))
    torch.testing.assert_close(found.values[found.mask], wanted[found.mask], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("normalize", [True, False])
def test_samples_are_those_of_transformers(noise, normalize):
    extractor = Wav2Vec2FeatureExtractor(do_normalize=normalize)
    processor = HfAudioEncoder(
        config={"model_type": "wav2vec2"}, preprocess={"do_normalize": normalize, "sampling_rate": 16000}
    ).processor()
    for samples in LENGTHS:
        wanted = extractor(noise(samples) + 0.1, sampling_rate=16000, return_tensors="pt")["input_values"][0]
        found = processor((noise(samples) + 0.1, 16000)).tensors["input_values"]
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_tokens_are_counted_as_the_stock_model_does():
    config = AutoConfig.for_model("wav2vec2")
    convolutions = tuple(zip(config.conv_kernel, config.conv_stride, strict=True))
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    for samples in (400, 719, 720, 16000, 123456):
        assert tokens(samples, convolutions) == int(model._get_feat_extract_output_lengths(torch.tensor(samples)))
    assert reach(convolutions) == 400
    assert tokens(399, convolutions) == 0


def test_short_sound_becomes_one_token(noise):
    item = HfAudioEncoder(config={"model_type": "hubert"}).processor()((noise(3), 16000))
    assert item.length == 1
    assert item.tensors["input_values"].shape == (400,)
    assert not item.tensors["input_values"][3:].any()


def test_masked_norm_is_group_norm_of_what_is_real():
    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(5, 5)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    values = 3 + torch.randn(2, 5, 40)
    mask = torch.arange(40) < torch.tensor([40, 17])[:, None, None]
    found = masked_norm(values, mask, norm)
    torch.testing.assert_close(found[0], norm(values[:1])[0])
    torch.testing.assert_close(found[1, :, :17], norm(values[1:, :, :17])[0])


@pytest.mark.parametrize(
    ("family", "options"), [("wav2vec2", {"add_adapter": True}), ("hubert", {"conv_pos_batch_norm": True})]
)
def test_parts_that_see_padding_are_refused(family, options):
    encoder = HfAudioEncoder(config={"model_type": family, **GROUP, **options})
    with pytest.raises(A2AError, match="would change with its neighbours"):
        encoder.build()


@pytest.mark.parametrize("family", FAMILIES)
def test_augmentation_and_layer_drop_are_off(family):
    config = {"model_type": family, **GROUP, "layerdrop": 0.5, "mask_time_prob": 0.5, "mask_feature_prob": 0.5}
    module = HfAudioEncoder(config=config).build()
    assert module.model.config.layerdrop == 0
    assert not any("masked_spec_embed" in name for name, parameter in module.named_parameters() if parameter.requires_grad)
    for name in ("attention_dropout", "hidden_dropout", "feat_proj_dropout", "activation_dropout"):
        config[name] = 0.0
    module = HfAudioEncoder(config=config).build()
    given = torch.randn(2, 4000), torch.tensor([4000, 3000])
    torch.testing.assert_close(module.train()(*given).values, module.eval()(*given).values)
