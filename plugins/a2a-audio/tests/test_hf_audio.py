import pytest

from a2a_audio.hf_audio import HfAudioEncoder
from a2a_core import A2AError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give `path`, .* or `config`"),
        ({"config": {"hidden_size": 8}}, "needs a `model_type`"),
        ({"config": {"model_type": "clap"}}, "runs whisper, wav2vec2, .* but no `clap` model"),
        ({"config": {"model_type": "whisper"}, "preprocess": {"do_normalize": True}}, "unknown key `do_normalize`"),
        ({"config": {"model_type": "whisper"}, "preprocess": {"n_fft": 0}}, "`preprocess.n_fft` must be an integer above 0"),
        ({"config": {"model_type": "hubert"}, "preprocess": {"do_normalize": 1}}, "must be true or false"),
        ({"config": {"model_type": "hubert"}, "max_seconds": -1.0}, "must be"),
    ],
)
def test_recipes_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        HfAudioEncoder(**options)


def test_a_directory_without_a_model(tmp_path):
    with pytest.raises(ValueError, match="there is no model at"):
        HfAudioEncoder(path=tmp_path)


def test_path_and_config_at_once(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="not both"):
        HfAudioEncoder(path=tmp_path, config={"model_type": "hubert"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read this configuration"),
        ('{"model_type": "bert"}', "no `bert` model"),
        ('{"model_type": "nonesuch"}', "cannot read this configuration"),
    ],
)
def test_a_directory_of_another_model(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(A2AError, match=message):
        HfAudioEncoder(path=tmp_path).resolved()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": {"model_type": "hubert", "hiden_size": 8}}, "unknown key `hiden_size`"),
        ({"config": {"model_type": "whisper"}, "preprocess": {"feature_size": 128}}, "`feature_size` is 128, .* takes 80 mels"),
    ],
)
def test_tables_that_do_not_fit(options, message):
    with pytest.raises(A2AError, match=message):
        HfAudioEncoder(**options).resolved()


@pytest.mark.parametrize("layer", [3, -4])
def test_layers_that_are_not_there(layer, tmp_path):
    config = {**HfAudioEncoder.tiny(tmp_path).config, "num_hidden_layers": 2}
    with pytest.raises(A2AError, match=f"`layer` = {layer}, but the model has 2 layers"):
        HfAudioEncoder(config=config, layer=layer).build()


def test_noise_that_is_added_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    (tmp_path / "preprocessor_config.json").write_text('{"dither": 0.1}')
    with pytest.raises(A2AError, match="adds noise"):
        HfAudioEncoder(path=tmp_path).resolved()


def test_resolved_carries_what_the_directory_says(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2", "hidden_size": 48, "mask_time_prob": 0.5}')
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": false, "sampling_rate": 8000, "padding_value": 0.0}')
    encoder = HfAudioEncoder(path=tmp_path).resolved()
    assert encoder.config["hidden_size"] == 48
    assert encoder.preprocess == {"do_normalize": False, "sampling_rate": 8000}
    assert encoder.resolved() == encoder
    assert HfAudioEncoder(path=tmp_path, preprocess={"do_normalize": True}).resolved().preprocess["do_normalize"] is True
